"""A ledger: a file that says which units of a run are finished, and what they left behind; a run goes on from there.

It is only ever appended to. The first entry says what the run is; each further one holds the numbers of units and their
parts, joined. An entry is its length, a SHA-256 of the rest, and the rest; what a killed run has left half-written at
the end is cut off. Who writes holds a lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fastxent.base.atomic_files import writing
from fastxent.base.errors import StateError, UsageError
from fastxent.base.version import package_version
from fastxent.data.spec import NUMERICS_VERSION
from fastxent.engine.plan import Part, Plan, Scored, has_rows_of, join, merge
from fastxent.engine.work import Chunk
from fastxent.sources.skipped import LeftOut, in_order
from fastxent.sources.source import Split
from fastxent.totals.totals import Totals

__all__ = ["Ledger", "identity_of"]

_MAGIC = b"FXLEDGER"
_FORMAT = 1
_HEAD = 8 + 32
#: What comes of reading an entry that nobody of ours has written.
_LIES = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError, zlib.error)
#: Parts of the time that entries may take, and bytes a second that they may add: larger parts are written less often.
_SHARE, _RATE = 1 / 20, 1 << 20


def identity_of(plan: Plan, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two runs the same: versions, spec, statistics, ``asked`` (how the data are read), files and splits.

    Raises:
        UsageError: the data are in memory, where they cannot be recognized.
    """
    plan.source.check_travels()
    splits = [(each.path, each.lo, each.hi, each.first_id, each.num_rows) for each in plan.splits]
    return {
        "format": _FORMAT,
        "fastxent": package_version(),
        "numerics version": NUMERICS_VERSION,
        "spec": plan.spec.to_dict(),
        "statistics": plan.measures.to_dict(),
        "inputs": {name: str(value) for name, value in asked.items()},
        "files": {name: list(stamp or ()) for name, stamp in plan.source.stamps().items()},
        "splits": [len(splits), hashlib.sha256(json.dumps(splits).encode()).hexdigest()],
    }


class Ledger:
    """The ledger of a run, open for writing.

    Args:
        path: the file; it is made if it is not there.
        identity: what the run is (`identity_of`).
        plan: what is scored; its splits are the units.

    Raises:
        UsageError: another run is writing it.
        StateError: it is of another run (the difference is named), or no ledger.
        OutputError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, Any], plan: Plan) -> None:
        self.path = os.fspath(path)
        self._plan = plan
        self.finished: set[int] = set()
        self.scored: Scored | None = None  #: what the finished units have left behind
        self._waiting: tuple[list[int], Part] | None = None
        self._due = time.monotonic()
        with writing(self.path):
            self._file = open(self.path, "r+b" if os.path.exists(self.path) else "x+b")
        try:
            self._lock()
            self._load(json.loads(json.dumps(identity)))
        except BaseException:
            self._file.close()
            raise

    def add(self, numbers: Chunk, scored: Scored) -> Iterable[int]:
        """Note that units are finished; returns those that the file has now. What it has already is not added."""
        if self.finished.issuperset(numbers):
            return ()
        if self._waiting is None:
            self._waiting = list(numbers), scored
        else:
            self._waiting = [*self._waiting[0], *numbers], join(self._waiting[1], scored)
        return self.flush() if time.monotonic() >= self._due else ()

    def flush(self) -> Iterable[int]:
        """Write what waits; returns the units that it is about."""
        if self._waiting is None:
            return ()
        began = time.monotonic()
        numbers, part = self._waiting
        scored = merge([part])
        note = {"units": numbers, "left_out": [asdict(each) for each in in_order(scored.left_out)]}
        size = self._append(json.dumps(note).encode() + b"\n" + scored.totals.to_bytes())
        self._waiting = None
        self.finished.update(numbers)
        now = time.monotonic()
        self._due = now + max((now - began) / _SHARE, size / _RATE)
        return numbers

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        try:
            self.flush()
        finally:
            self._file.close()

    def _append(self, data: bytes) -> int:
        data = zlib.compress(data, 1)
        with writing(self.path):
            self._file.write(len(data).to_bytes(8, "little") + hashlib.sha256(data).digest() + data)
            self._file.flush()
            os.fsync(self._file.fileno())
        return len(data)

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self.path}: another run is writing this ledger; wait for it or name another") from None

    def _load(self, identity: dict[str, Any]) -> None:
        magic = self._file.read(len(_MAGIC))
        if magic != _MAGIC[: len(magic)]:
            raise StateError(f"{self.path}: is no ledger of fastxent; name another file")
        entries = self._entries() if len(magic) == len(_MAGIC) else iter(())
        try:
            head = next(entries, None)
            if head is None:
                self._begin(identity)
                return
            self._check(identity, json.loads(head))
            for entry in entries:
                note, _, state = entry.partition(b"\n")
                self._take(json.loads(note), state)
        except StateError:
            raise
        except _LIES as error:
            raise StateError(f"{self.path}: is damaged: {error}; remove it to begin again") from error

    def _check(self, identity: dict[str, Any], theirs: Any) -> None:
        """Raise StateError for the identity of another run."""
        if differences := list(_differences(identity, theirs, "")):
            raise StateError(
                f"{self.path}: is the ledger of another run: {'; '.join(differences[:3])}; name another file, or "
                "remove this one to begin again"
            )

    def _begin(self, identity: dict[str, Any]) -> None:
        with writing(self.path):
            self._file.seek(0)
            self._file.truncate()
            self._file.write(_MAGIC)
        self._append(json.dumps(identity).encode())

    def _take(self, note: dict[str, Any], state: bytes) -> None:
        """Add an entry. Its checksum says nothing of who has written it, so what it says is held against the plan."""
        numbers, splits = note["units"], self._plan.splits
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < len(splits) for n in numbers):
            raise ValueError("an entry is about splits that there are not")
        again = self.finished.issuperset(numbers)
        if len(set(numbers)) < len(numbers) or not (again or self.finished.isdisjoint(numbers)):
            raise ValueError("splits are in it twice")
        scored = Scored(Totals.from_bytes(state, self.path), frozenset(map(_left_out, note["left_out"])))
        if difference := scored.totals.difference(self._plan.spec, self._plan.measures):
            raise ValueError(f"the numbers of an entry are of another run: {difference}")
        own = [splits[number] for number in numbers]
        if not has_rows_of(own, scored) or not _lie_in(own, scored.totals):
            raise ValueError("an entry has other rows than its splits")
        if not again:
            self.finished.update(numbers)
            self.scored = scored if self.scored is None else merge([self.scored, scored])

    def _entries(self) -> Iterator[bytes]:
        """All entries; what comes after the last whole one is cut off."""
        end, whole = self._file.tell(), os.fstat(self._file.fileno()).st_size
        while len(head := self._file.read(_HEAD)) == _HEAD:
            size = int.from_bytes(head[:8], "little")
            data = self._file.read(size) if size <= whole - self._file.tell() else b""
            if hashlib.sha256(data).digest() != head[8:]:
                break
            end = self._file.tell()
            yield zlib.decompress(data)
        self._file.seek(end)
        self._file.truncate()


def _left_out(written: dict[str, Any]) -> LeftOut:
    """What was left out, as it was written down."""
    found = LeftOut(**written)
    whole = [found.first_row, *(each for each in (found.row_group, found.rows) if each is not None)]
    if not all(type(each) is int and each >= 0 for each in whole) or not isinstance(found.path, str):
        raise ValueError("something was left out that cannot be")
    if not isinstance(found.reason, str):
        raise ValueError("something was left out for no reason")
    return found


def _lie_in(splits: Sequence[Split], totals: Totals) -> bool:
    """Whether the rows that totals know by number are rows of the splits, where these are counted."""
    if min((split.num_rows for split in splits), default=0) < 0:
        return True
    known = [totals.tallies.first[totals.tallies.first < np.iinfo(np.int64).max]]
    known += [keeper.values(np.zeros(1, np.int64))[1]["id"] for keeper in totals.all_rows.keepers.values()]
    rows = np.concatenate(known)
    inside = np.zeros(len(rows), np.bool_)
    for split in splits:
        inside |= (rows >= split.first_id) & (rows < split.first_id + split.num_rows)
    return bool(inside.all())


def _differences(ours: Any, theirs: Any, name: str) -> Iterator[str]:
    """What sets this run apart from that of a ledger, in words."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from _differences(ours.get(key), theirs.get(key), f"{name} {key}".strip())
    elif ours != theirs:
        kind, _, what = name.partition(" ")
        if kind == "files":
            yield f"{what} " + ("is new" if theirs is None else "is gone" if ours is None else "has changed")
        elif kind == "splits":
            yield f"the data are cut into {ours[0]} splits here, and otherwise into {theirs[0]} there"
        else:
            yield f"{name} is {ours!r} here and {theirs!r} there"
