"""Reports: what is in them, that nothing from the data acts in them, and how they behave in a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from tests.test_states import run

DATA = Path(__file__).parent.parent / "data"
A, B = str(DATA / "digits.parquet"), str(DATA / "digits_kernel.parquet")
EVIL = [
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    '"><img src=x onerror=alert(2)>',
    "$\\frac{1}{0}$",
    "{{ 7 * 7 }}",
]


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def evaluation() -> Any:
    return fx.evaluate(A, "label", logits="logits")


@pytest.fixture(scope="module")
def comparison() -> Any:
    return fx.compare(A, B, "label", logits="logits", on="id", group_by=["ink", "fold"])


@pytest.fixture(scope="module")
def evil() -> Any:
    """An evaluation in which every name from the data is up to something, with groups and worst rows."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 5))
    z[3, 0] = np.nan
    table = pa.table({"z": list(z), "y": [EVIL[i % 5] for i in range(60)], EVIL[2]: [EVIL[i % 4] for i in range(60)]})
    ev = fx.evaluate(
        table, "y", logits="z", class_names=EVIL, on_invalid="skip", group_by=EVIL[2], worst=2, statistics="classwise"
    )
    ev.warnings.append(EVIL[0])
    ev.run["paths"] = EVIL
    values = ev.to_dict()
    values["groups"] = [{EVIL[2]: name, "count": 12, "loss": 1.0 + i, "accuracy": 0.5} for i, name in enumerate(EVIL)]
    values["worst"] = [{"row": i, "loss": 3.0 - i, "target": name, "predicted": EVIL[0]} for i, name in enumerate(EVIL)]
    values[EVIL[0]] = 1.5
    return ev, values


def test_an_evaluation(evaluation: Any, tmp_path: Path) -> None:
    text = evaluation.to_html(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == text
    page = Page(text)
    for part in ("0.107876", "96.94 %", "1,797", "0.08684 to 0.1289", "Every class", "multiclass", "digits.parquet"):
        assert part in page.text
    figures = page.all("svg")
    assert len(figures) == 4
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in figures)
    assert re.search("Most often confused: 8 taken for 1, 7 times", str(figures[3]["aria-label"]))
    assert [name for name, _ in page.tags].count("h1") == 1
    assert len(page.all("caption")) == len(page.all("table"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_comparison(comparison: Any) -> None:
    page = Page(comparison.to_html())
    for part in (
        "+0.01234",
        "No difference beyond chance",
        "785 : 1,012",
        "A right",
        "ink",
        "heavy",
        "Higher loss in B",
    ):
        assert part in page.text
    assert "ink: light" in str(page.all("svg")[0]["aria-label"])


def test_the_same_result_gives_the_same_bytes(evaluation: Any) -> None:
    assert evaluation.to_html() == evaluation.to_html()


def test_a_page_loads_nothing(evaluation: Any, comparison: Any) -> None:
    for text in (evaluation.to_html(), comparison.to_html()):
        page = Page(text)
        for _, attributes in page.tags:
            for name in ("src", "href", "xlink:href", "action", "data"):
                value = attributes.get(name)
                assert value is None or value.startswith(("#", "data:"))
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
        assert "@import" not in text
        assert "@font-face" not in text
        policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
        assert str(policy).startswith("default-src 'none'")


def test_names_from_the_data_are_text_and_nothing_else(evil: Any) -> None:
    from fastxent.report.write import write_report

    ev, values = evil
    text = write_report(values, confusion=ev.confusion, histogram=ev.totals.tallies.histogram)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\x1b" not in text
    assert "<script>alert(1)</script>" in page.text  # as text
    assert "\\x1b[31mred" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "the prediction contains NaN" in page.text


def test_a_comparison_of_evil_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"{name}{i}" for name in EVIL for i in range(4)]
    columns = {"i": ids, "y": [i % 3 for i in range(20)], EVIL[0]: [EVIL[i % 5] for i in range(20)]}
    a, b = (pa.table({"z": list(rng.normal(size=(20, 3))), **columns}) for _ in "ab")
    c = fx.compare(a, b[1:], "y", logits="z", on="i", group_by=EVIL[0])
    text = c.to_html()
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert "\x1b" not in text
    from fastxent.cli.comparison_table import show_comparison

    show_comparison(c)


def test_no_escape_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {
        "i": ["\x1b[31mx", "\x1b[32my"],
        "z": [[0.0, 1.0], [1.0, 0.0]],
        "y": [0, 1],
        "g": ["[red]\x1b]0;t\x07", "\x9b2J"],
    }
    other = pa.table(columns | {"z": [[0.0, 0.0], [0.0, 0.0]]})[1:]
    c = fx.compare(pa.table(columns), other, "y", logits="z", on="i", group_by="g")
    assert c.improved
    from fastxent.cli.comparison_table import show_comparison

    show_comparison(c)
    printed = capsys.readouterr().out
    assert not set(printed) & {"\x1b", "\x07", "\x9b"}
    assert "\\x1b[31mx" in printed
    assert "\\x1b[32my" in printed
    code, _, error = run("evaluate", tmp_path / "\x1b[2J.parquet", "--logits", "z", "--target", "y", "--no-progress")
    assert code == 3
    assert "\x1b" not in error


def test_what_is_absent_is_left_out() -> None:
    ev = fx.evaluate(logits=[0.3, -1.0, 2.0], target=[0, 1, 1], task="binary")
    assert "Every class" in Page(ev.to_html()).text
    ev = fx.evaluate(logits=[[0.3, -1.0]], target=[0])
    assert "–" in Page(ev.to_html()).text or ev.num_rows == 1
    text = Page(fx.evaluate(logits=np.zeros((2, 3)), target=[-1, -1], ignore_index=-1).to_html()).text
    assert "ignored, as ignore_index asks" in text
    ev = fx.evaluate(probs=[[0.0, 1.0], [0.5, 0.5]], target=[0, 0])
    assert "∞" in Page(ev.to_html()).text


def test_what_was_asked_for_is_shown(tmp_path: Path) -> None:
    ev = fx.evaluate(
        A, "label", logits="logits", group_by=("ink", "fold"), worst_per_class=1, units="fold",
        statistics=("classwise", "temperature"),
    )  # fmt: skip
    text = Page(ev.to_html()).text
    for caption in (
        "By ink", "By fold", "By ink, fold", "Highest losses of each class", "Bits per fold",
        "Every class against the rest", "Loss of the logits divided by a temperature",
    ):  # fmt: skip
        assert caption in text
    binary = fx.evaluate(logits=[0.3, -1.0, 2.0], target=[0, 1, 1], task="binary", statistics="ranking")
    text = Page(binary.to_html()).text
    assert "Thresholds" in text
    assert "Ranking of positives above negatives" in text
    pq.write_table(pq.read_table(A), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing PAR1")
    part = fx.evaluate(str(tmp_path), "label", logits="logits", on_error="skip")
    assert "Parts that could not be read" in Page(part.to_html()).text
    flips = fx.compare(A, A, "label", logits="logits", b_probs="probs", by_order=True, permutations=9)
    assert "p by sign flips" in Page(flips.to_html()).text


def test_classes_of_slices_are_shown_and_bounded() -> None:
    ev = fx.evaluate(A, "label", logits="logits", group_by=("ink", "fold"), worst=20, statistics="classwise")
    page = Page(ev.to_html())
    assert {"href": "#slice-classes"} in page.all("a")
    for caption in (
        "Where the loss is: classes of slices by the sum of their losses (first 50 of 150)",
        "Recall, by ink, fold and class",
        "Calibration error against the rest, by ink, fold and class",
        "Highest losses by ink, fold (first 200 of 300)",
    ):
        assert caption in page.text
    (top,) = sorted(ev.to_dict()["group_per_class"], key=lambda row: -row["support"] * row["loss"])[:1]
    first = "".join(str(top[name]) for name in ("ink", "fold", "class", "support"))
    assert re.search(rf"Where the loss is[^%]*F1\s*{first}", page.text)
    rng = np.random.default_rng(0)
    many = fx.evaluate(logits=rng.normal(size=(3000, 30)), target=np.arange(3000) % 30, group_by=np.arange(3000) % 150)
    page = Page(many.to_html())
    assert "Recall, by" not in page.text  # a column a class would be too many
    present = sum(row["support"] > 0 for row in many.group_per_class.to_pylist())
    assert f"the sum of their losses (first 50 of {present:,})" in page.text
    few = fx.evaluate(logits=rng.normal(size=(3000, 3)), target=np.arange(3000) % 3, group_by=np.arange(3000) % 150)
    assert "Recall, by group and class (first 100 of 150)" in Page(few.to_html()).text


def test_nothing_scored_draws_nothing() -> None:
    table = pa.table({"z": [[np.nan] * 3] * 5, "y": [0] * 5})
    page = Page(fx.evaluate(table, "y", logits="z", on_invalid="skip").to_html())
    assert "No row was scored." in page.text
    assert "a table in memory" in page.text
    assert "– nats" not in page.text
    assert page.all("svg") == []


def test_of_many_groups_the_plot_shows_those_that_differ_most() -> None:
    from fastxent.report import plots
    from fastxent.report.comparison_page import comparison_page

    def delta(mean: float, half: float) -> dict[str, Any]:
        return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "p_value": 0.5, "df": 3}

    rows, loss = {"compared": 9}, {"a": 1.0, "b": 1.0}
    wins = {"a": 1, "b": 1, "ties": 0}
    groups = {
        f"a long name that ends in {i:03d}": {"delta": delta(0.01 * i, 1.0), "rows": 3, "loss": loss} for i in range(99)
    }
    values = {
        "delta": delta(0.0, 1.0),
        "rows": rows,
        "loss": loss,
        "wins": wins,
        "a": {},
        "b": {},
        "groups": {"g": groups},
    }
    where = comparison_page(values)[4][0]
    drawn, caption = where.figures[0]
    assert "Of 99 groups" in caption
    assert len(where.tables[0].rows) == 99
    shown = [i for i in range(99) if f"g: a long nam… ends in {i:03d}" in Page(str(drawn)).text]
    assert shown == list(range(99 - plots.BARS + 1, 99))


def test_the_shell_writes_reports(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    assert run("evaluate", A, "--logits", "logits", "--target", "label", "--no-progress", "--html", path)[0] == 0
    Page(path.read_text())
    state = tmp_path / "s.fxt"
    run("evaluate", A, "--logits", "logits", "--target", "label", "--no-progress", "--state", state)
    assert run("merge", state, "--html", path)[0] == 0
    assert "s.fxt" in Page(path.read_text()).text


# --- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page in the browser, and what it complained about or asked the network for."""
    page = browser.new_page(**options)
    noise: list[str] = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("dialog", lambda dialog: (noise.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: noise.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, noise


@pytest.mark.browser
def test_nothing_happens_in_the_browser(
    browser: Any, evil: Any, evaluation: Any, comparison: Any, tmp_path: Path
) -> None:
    from fastxent.report.write import write_report

    ev, values = evil
    write_report(values, tmp_path / "evil.html", confusion=ev.confusion, histogram=ev.totals.tallies.histogram)
    evaluation.to_html(tmp_path / "evaluation.html")
    comparison.to_html(tmp_path / "comparison.html")
    for path in sorted(tmp_path.iterdir()):
        for width in (320, 1200):
            page, noise = opened(browser, path, viewport={"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            page.close()
            assert noise == []


@pytest.mark.browser
def test_tables_are_sorted_by_keyboard(browser: Any, evaluation: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    evaluation.to_html(path)
    page, noise = opened(browser, path)
    table = page.locator("table[data-sortable]", has_text="Every class").first
    heading = table.locator("th[scope=col]", has_text="recall")

    def recalls() -> list[float]:
        return [float(cell.replace(" %", "")) for cell in table.locator("tbody td:nth-child(5)").all_text_contents()]

    before = recalls()
    assert heading.get_attribute("aria-sort") == "none"
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert recalls() == sorted(before, reverse=True)
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert recalls() == sorted(before)
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "none"
    assert recalls() == before
    assert noise == []


@pytest.mark.browser
def test_classes_of_slices_are_sorted_too(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    ev = fx.evaluate(A, "label", logits="logits", group_by="ink")
    ev.to_html(path)
    page, noise = opened(browser, path, viewport={"width": 360, "height": 800})
    table = page.locator("table[data-sortable]", has_text="Recall, by ink and class")
    column = table.locator("th[scope=col]").all_inner_texts().index("8")
    table.locator("th[scope=col]").nth(column).locator("button").press("Enter")
    shown = table.locator("tbody tr").evaluate_all(f"rows => rows.map(row => Number(row.cells[{column}].dataset.key))")
    told = [row["recall"] for row in ev.to_dict()["group_per_class"] if row["class"] == "8"]
    assert shown == sorted(told, reverse=True) != told
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert noise == []


@pytest.mark.browser
def test_dark_light_and_paper(browser: Any, evaluation: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    evaluation.to_html(path)
    color = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg text')).fill]"
    )
    page, _ = opened(browser, path, color_scheme="light")
    light = page.evaluate(color)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(color)
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(color)[0] == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
