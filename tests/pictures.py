"""The example report and its picture: ``python -m tests.pictures --write`` (``make pictures``) makes both anew.

The command stands in README, below the picture; the picture is what Chromium shows of the page's beginning.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.documents import printed
from tests.shell import ROOT

REPORT, PICTURE = ROOT / "docs" / "example-report.html", ROOT / "docs" / "images" / "report.png"
SIZE = {"width": 1200, "height": 1500}
#: What differs from run to run: how long it took, when it was, and with how many threads.
RUN = re.compile(r"(<dt>(?:finished|fastxent|seconds|compile seconds|rows per second|threads|runner)</dt><dd>)[^<]*")


def main() -> None:
    if "--write" in sys.argv:
        made(ROOT)
        with chromium() as browser:
            PICTURE.write_bytes(taken(browser, REPORT))
        for path in (REPORT, PICTURE):
            print(f"wrote {path.relative_to(ROOT)}")


def made(folder: Path) -> str:
    """The report that README's command writes in a folder with data/ and docs/."""
    told = re.search(r"made by `(fastxent evaluate .*?)`", (ROOT / "README.md").read_text(), re.DOTALL)
    assert told
    said = printed(shlex.split(told[1].replace("\n", " ")), folder)
    assert "[exit code" not in said, said
    return (folder / REPORT.relative_to(ROOT)).read_text()


def lasting(report: str) -> str:
    """A report without what differs from run to run, and with as many digits of estimates as no processor changes."""
    return re.sub(r"\d+\.\d{9,}", lambda found: f"{float(found[0]):.8g}", RUN.sub(r"\1", report))


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


def taken(browser: Any, page: Path) -> bytes:
    """The beginning of a page as a picture."""
    opened = browser.new_page(viewport=SIZE, color_scheme="light")
    opened.goto(page.as_uri())
    picture: bytes = opened.screenshot()
    opened.close()
    return picture


if __name__ == "__main__":
    main()
