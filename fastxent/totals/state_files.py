"""State files: totals on disk, and the totals of several runs put together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from fastxent.base.errors import SourceError, StateError, UsageError
from fastxent.totals.totals import Totals

__all__ = ["merge_states", "merge_totals", "read_state", "totals_of"]


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
    return merge_totals(named, named, named)


def merge_totals(states: Sequence[str | bytes | Totals], names: Sequence[str], paths: Sequence[str] = ()) -> Totals:
    """`merge_states` of state files, their bytes, or totals, which stay as they are; of ``paths`` none may be twice."""
    if not states:
        raise UsageError("merge: name at least one state file")
    _check_distinct(paths)
    first = totals_of(states[0], names[0])
    totals = Totals(first.spec, first.measures)
    totals.merge(first)
    for state, name in zip(states[1:], names[1:], strict=True):
        part = totals_of(state, name)
        try:
            totals.add_after(part)
        except StateError as error:
            raise StateError(f"{name} does not belong to {names[0]}: {error} ({names[0]} first)") from error
    return totals


def totals_of(state: str | bytes | Totals, name: str = "the bytes") -> Totals:
    """Totals as they are, from their bytes, or from a state file."""
    if isinstance(state, Totals):
        return state
    return read_state(state) if isinstance(state, str) else Totals.from_bytes(bytes(state), name)


def _check_distinct(paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            raise UsageError(f"merge: {path} is named twice; its rows would count double")
        seen[real] = path
