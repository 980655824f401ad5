"""Where --summary writes Markdown to."""

from __future__ import annotations

import os

from fastxent.base.errors import OutputError, UsageError
from fastxent.cli.output import write_text

__all__ = ["check_summary", "write_summary"]

_GITHUB = "GITHUB_STEP_SUMMARY"


def check_summary(place: str | None) -> None:
    """Raise UsageError where ``github`` is asked for and GitHub does not run this."""
    if place == "github" and not os.environ.get(_GITHUB):
        raise UsageError(
            f"--summary github: the variable {_GITHUB} names no file, as it does in GitHub Actions; "
            "name a file instead, or - for standard output"
        )


def write_summary(place: str, text: str) -> None:
    """Add Markdown to the summary of the job of GitHub, or write it to a file or to standard output."""
    if place != "github":
        write_text(place, text)
        return
    path = os.environ[_GITHUB]
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"--summary github: {error.strerror}", path=path) from None
