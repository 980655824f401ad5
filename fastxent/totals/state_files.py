"""State files: totals on disk, and the totals of several runs put together.

The state of a shard of a run (``--shard 3/100``) is the magic ``FXTSHARD``, a little-endian uint64 with the length of a
JSON header that says which shard of how many it is, the header, the totals, and a SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastxent.base.atomic_files import write_atomically
from fastxent.base.errors import SourceError, StateError, UsageError
from fastxent.totals.totals import MAGIC, Totals

__all__ = ["merge_states", "merge_totals", "read_state", "totals_of", "write_state"]

_SHARD = b"FXTSHARD"


def write_state(path: str | os.PathLike[str], totals: Totals, shard: Mapping[str, Any] | None = None) -> None:
    """Write totals whole or not at all; those of a ``shard`` with what it is one of ("number", "of", "plan").

    Raises:
        OutputError: the file cannot be written.
    """
    data = totals.to_bytes()
    if shard is not None:
        header = json.dumps(shard, sort_keys=True).encode()
        data = _SHARD + len(header).to_bytes(8, "little") + header + data
        data += hashlib.sha256(data).digest()
    write_atomically(path, data)


def read_state(path: str | os.PathLike[str]) -> Totals:
    """The totals in a state file, of a shard too.

    Raises:
        SourceError: the file cannot be read.
        StateError: it is damaged, no state file, or of another version.
    """
    return totals_of(os.fspath(path))


def merge_states(paths: Iterable[str | os.PathLike[str]]) -> Totals:
    """The totals of all the files: the same bytes as of one run over all their data, in this order.

    Every number is the same in any order. Only the numbers by which single rows are named (the first invalid
    row, the worst rows) count on from file to file, as they do in one run over the data. Shards of a run have the
    numbers of that run, so they may come in any order, and must all be there.

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
    shard, first = _state(states[0], names[0])
    totals = Totals(first.spec, first.measures)
    totals.merge(first)
    shards = {} if shard is None else {shard["number"]: names[0]}
    for state, name in zip(states[1:], names[1:], strict=True):
        own, part = _state(state, name)
        if _run_of(own) != _run_of(shard):
            raise StateError(f"{name} and {names[0]} are not shards of the same run; merge those of one run alone")
        if own is not None and (other := shards.setdefault(own["number"], name)) != name:
            raise UsageError(f"merge: {name} and {other} are both shard {own['number']}; name one")
        try:
            (totals.add_after if own is None else totals.merge)(part)
        except StateError as error:
            raise StateError(f"{name} does not belong to {names[0]}: {error} ({names[0]} first)") from error
    if shard is not None and (missing := [n for n in range(1, shard["of"] + 1) if n not in shards]):
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise StateError(f"merge: {len(missing)} of {shard['of']} shards are missing: {shown}; make them, or name them")
    return totals


def totals_of(state: str | bytes | Totals, name: str = "the bytes") -> Totals:
    """Totals as they are, from their bytes, or from a state file."""
    return _state(state, state if isinstance(state, str) else name)[1]


def _state(state: str | bytes | Totals, name: str) -> tuple[dict[str, Any] | None, Totals]:
    """Which shard a state is of, if it is of one, and its totals."""
    if isinstance(state, Totals):
        return None, state
    data = _read(state) if isinstance(state, str) else bytes(state)
    if data[:8] != _SHARD:
        return None, Totals.from_bytes(data, name)
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise StateError(f"{name}: damaged (its checksum does not match); make it again")
    end = 16 + int.from_bytes(data[8:16], "little")
    return _shard(data[16:end], name), Totals.from_bytes(data[end:-32], name)


def _shard(header: bytes, name: str) -> dict[str, Any]:
    """Which shard of how many a state says that it is."""
    try:
        shard = json.loads(header)
        number, count = (operator.index(shard[key]) for key in ("number", "of"))
        if isinstance(shard["plan"], str) and 1 <= number <= count:
            return dict(shard)
    except (KeyError, RecursionError, TypeError, ValueError):
        pass
    raise StateError(f"{name}: does not say which shard it is of how many; make it again")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            return start + file.read() if start in (_SHARD, MAGIC) else start  # others may be large, or have no end
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=path) from error


def _run_of(shard: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """What shards of one run have in common."""
    return () if shard is None else (shard["of"], shard["plan"])


def _check_distinct(paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            raise UsageError(f"merge: {path} is named twice; its rows would count double")
        seen[real] = path
