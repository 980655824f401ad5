"""State files: totals on disk, and the totals of several runs put together."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fastxent.base.errors import SourceError, StateError, UsageError
from fastxent.totals.totals import Totals

__all__ = ["merge_states", "read_state"]


def read_state(path: str | os.PathLike[str]) -> Totals:
    """The totals in a state file.

    Raises:
        SourceError: the file cannot be read.
        StateError: it is damaged, no state file, or of another version.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=path) from error
    return Totals.from_bytes(data, path)


def merge_states(paths: Iterable[str | os.PathLike[str]]) -> Totals:
    """The totals of all the files: the same bytes as of one run over all their data, in this order.

    Every number is the same in any order. Only the numbers by which single rows are named (the first invalid
    row, the worst rows) count on from file to file, as they do in one run over the data.

    Raises:
        UsageError: a file is named twice, or none is.
        StateError: the files do not measure the same; the message names the first difference.
    """
    named = [os.fspath(path) for path in paths]
    if not named:
        raise UsageError("merge: name at least one state file")
    _check_distinct(named)
    totals = read_state(named[0])
    for path in named[1:]:
        part = read_state(path)
        part.shift(int(totals.tallies.rows.sum()))
        try:
            totals.merge(part)
        except StateError as error:
            raise StateError(f"{path} does not belong to {named[0]}: {error} ({named[0]} first)") from error
    return totals


def _check_distinct(paths: list[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            raise UsageError(f"merge: {path} is named twice; its rows would count double")
        seen[real] = path
