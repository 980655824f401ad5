"""Totals: the mergeable state of an evaluation. A value with three verbs: absorb, merge, read.

Only integers are inside, so merging is exact, associative and commutative, and the empty totals are
its identity. Absorbing is done by `fastxent.engine.scorer.Scorer`, reading by `fastxent.statistics.reading.Reading`.

The file form: the magic ``FASTXENT``, a little-endian uint64 with the length of a JSON header, the
header, the arrays one after the other (little-endian int64), and a SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastxent.base import exact
from fastxent.base.errors import FastxentError, StateError
from fastxent.base.status import FIRST_INVALID, Status
from fastxent.data.spec import NUMERICS_VERSION, Spec
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.accuracy import MOST_RANKS
from fastxent.statistics.all_rows import AllRows
from fastxent.statistics.classes import FULL_CLASSES
from fastxent.statistics.groups import Groups, Keys
from fastxent.statistics.options import Measures, Readings
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.registry import wanted_statistics
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.sums import TALLIED, Sums
from fastxent.totals.check import check_totals

__all__ = ["MAGIC", "Totals"]

MAGIC = b"FASTXENT"
_VERSION = 8
#: What reading a header raises that is not what this version writes.
_LIES = (FastxentError, AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
#: What a command says of a spec that is not of the data.
_OF_SPEC = ("task", "loss", "label_smoothing", "ignore_index", "clip", "normalize")
_NEVER = np.iinfo(np.int64).max
_ARRAYS = tuple(name for name in Tallies._fields if name != "positive")


def _classes(spec: Spec) -> int:
    return 2 if spec.task == "binary" else spec.num_classes


def _shapes(spec: Spec, measures: Measures) -> dict[str, tuple[int, ...]]:
    """The shape of every array of tallies; without cells what is not wanted, or what statistics count by weight."""
    classes = _classes(spec)
    ranked = measures.scores and not spec.reads_weight
    by_class = ranked and predicts_class(spec)
    confusion = by_class and classes <= FULL_CLASSES
    return {
        "rows": (tally.STATUSES,),
        "first": (tally.STATUSES,),
        "sums": (len(_tallied(spec, measures)) + spec.reads_weight * tally.WEIGHED * len(tally.SCALES), exact.SIZE),
        "histogram": (tally.HISTOGRAM if measures.spread else 0,),
        "extremes": (2,),
        "ranks": (min(classes, MOST_RANKS) + 1 if ranked and spec.task != "binary" else 0,),
        "calibration": (tally.CELLS, tally.CALIBRATION_COLUMNS) if by_class else (0, 0),
        "classes": (classes, tally.CLASS_COLUMNS) if by_class else (0, 0),
        "confusion": (classes, classes) if confusion else (0, 0),
        "uneven": (1,),
    }


def _tallied(spec: Spec, measures: Measures) -> tuple[str, ...]:
    """The exact sums that are gathered."""
    return tuple(TALLIED)[: tally.SUMS if spec.reads_weight else 3 if measures.scores else 2 if measures.spread else 1]


def _new_tallies(spec: Spec, measures: Measures) -> Tallies:
    arrays = {name: np.zeros(shape, np.int64) for name, shape in _shapes(spec, measures).items()}
    arrays["first"][:] = _NEVER
    arrays["extremes"][:] = _NEVER, -1
    return Tallies(**arrays, positive=spec.task == "binary")


@dataclass(slots=True, eq=False)
class Totals:
    """The integers that any number of rows leave behind under one spec."""

    spec: Spec
    measures: Measures = field(default_factory=Measures)
    tallies: Tallies = field(init=False)
    statistics: tuple[Statistic, ...] = field(init=False)
    all_rows: AllRows = field(init=False)
    groups: Groups | None = field(init=False, default=None)
    like_probs: bool = field(init=False)  #: whether all rows of logits so far could be probabilities
    hard_targets: bool = field(init=False, default=True)  #: whether the targets of the first rows are 0 and 1
    _uncarried: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.tallies = _new_tallies(self.spec, self.measures)
        self.like_probs = self.spec.form == "logits"
        self.statistics = wanted_statistics(self.spec, self.measures)
        self.all_rows = AllRows(self.tallies, _classes(self.spec), self.statistics)
        if self.measures.group_by:
            tallied = _tallied(self.spec, self.measures)
            self.groups = Groups(self.measures.group_by, dict(self.measures.edges), tallied, self.statistics)

    def __eq__(self, other: object) -> bool:
        """Whether they are of the same rows under the same spec and measures: equal bytes."""
        return self.to_bytes() == other.to_bytes() if isinstance(other, Totals) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def reads_records(self) -> bool:
        """Whether records of scored rows are to be absorbed, beside what kernels tally."""
        return self.groups is not None or self.all_rows.reads_records

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (zlib.compress(self.to_bytes(), 1),)  # 0.9 MB of mostly zeros become 5 kB

    def prepare(self, rows: int) -> None:
        """Make room for so many rows (at most ``tally.LATE``) in the words that are carried late."""
        if self._uncarried + rows > tally.LATE:
            self.settle()
        self._uncarried += rows

    def settle(self) -> None:
        """Carry what was not carried yet."""
        _carry(self.tallies)
        self.tallies.first[Status.SCORED] = _NEVER  # blocks in which all rows are scored do not look
        self._uncarried = 0

    def absorb(self, record: Record) -> None:
        """Add a record of rows, which the tallies hold already, to what is beside them."""
        self.all_rows.absorb(record)
        if self.groups is not None:
            self.groups.absorb(record)

    def invalid_counts(self) -> dict[Status, int]:
        """How many rows are invalid, by cause; causes that did not occur are left out."""
        rows = self.tallies.rows
        return {status: int(rows[status]) for status in Status if status >= FIRST_INVALID and rows[status]}

    def first_invalid(self) -> dict[Status, int]:
        """The id of the first row of every cause that occurred."""
        return {status: int(self.tallies.first[status]) for status in self.invalid_counts()}

    def reading(self, options: Readings | None = None) -> Reading:
        """What all rows say."""
        self.settle()
        invalid = self.spec.on_invalid == "propagate" and bool(self.invalid_counts())
        return self._read(self.all_rows, options or Readings(), invalid=invalid)

    def group_reading(self, wanted: Mapping[str, Any], options: Readings) -> Reading:
        """What the rows with these values of columns say, of which groups were made."""
        assert self.groups is not None
        return self._read(self.groups.only(wanted), options)

    def group_readings(self, options: Readings, margin: str | None = None) -> tuple[Keys, Reading]:
        """The groups, or those by one column alone, and what they say."""
        assert self.groups is not None
        keys, sums = self.groups.sums() if margin is None else self.groups.margin(margin)
        return keys, self._read(sums, options)

    def _read(self, sums: Sums, options: Readings, *, invalid: bool = False) -> Reading:
        return Reading(sums, self.statistics, self.spec, self.measures, options, invalid=invalid)

    def merge(self, other: Totals) -> None:
        """Add the other's rows; raises StateError if the two measure different things."""
        if difference := self.difference(other.spec, other.measures):
            raise StateError(f"cannot merge totals of different specs: {difference}")
        other.settle()
        self.settle()
        mine, theirs = self.tallies, other.tallies
        for name in _ARRAYS:
            a, b = getattr(mine, name), getattr(theirs, name)
            if name == "first":
                np.minimum(a, b, out=a)
            elif name == "extremes":
                a[0], a[1] = min(a[0], b[0]), max(a[1], b[1])
            elif name == "sums":
                a[...] = exact.merge(a, b)
            else:
                a += b
        self.settle()
        self.like_probs &= other.like_probs
        self.hard_targets &= other.hard_targets
        self.all_rows.merge(other.all_rows)
        if self.groups is not None and other.groups is not None:
            self.groups.merge(other.groups)

    def difference(self, spec: Spec, measures: Measures) -> str:
        """What sets totals of other spec or measures apart from these, in words; empty if they may be merged."""
        if (self.spec, self.measures) == (spec, measures):
            return ""
        parts = []
        for ours, theirs in ((self.spec, spec), (self.measures, measures)):
            left, right = ours.to_dict(), theirs.to_dict()
            parts += [
                f"{key} is {left.get(key, 'unset')!r} here and {right.get(key, 'unset')!r} there"
                for key in sorted(set(left) | set(right))
                if left.get(key) != right.get(key)
            ]
        return "; ".join(parts)

    def add_after(self, other: Totals) -> None:
        """Merge other totals, which stay as they are, with their rows numbered after those so far."""
        part = Totals(other.spec, other.measures)
        part.merge(other)
        part.shift(int(self.tallies.rows.sum()))
        self.merge(part)

    def shift(self, offset: int, rows: int = 0, path: str | None = None) -> None:
        """Count rows from ``offset`` on, as if so many others had come before.

        In their own file ``rows`` had come before; that file is called ``path`` from now on, if it is given.
        """
        first = self.tallies.first
        first[first != _NEVER] += offset
        self.all_rows.shift(offset, rows, path)
        if self.groups is not None:
            self.groups.shift(offset, rows, path)

    def to_bytes(self) -> bytes:
        """The canonical file form: equal totals give equal bytes."""
        body = b"".join(part for _, part in self._written())
        return body + hashlib.sha256(body).digest()

    def _written(self) -> Iterator[tuple[str, bytes]]:
        """The parts of the file form, and what each of them is."""
        self.settle()
        tallies = self.tallies
        tallies.sums[...] = exact.canonical(tallies.sums)
        arrays = [(name, getattr(tallies, name)) for name in _ARRAYS]
        values, shapes = {}, {}
        for name, part in self._parts().items():
            values[name], more = part.state()
            shapes[name] = [list(array.shape) for array in more]
            arrays += [(f"array {i} of {name}", array) for i, array in enumerate(more)]
        header = json.dumps(
            {
                "version": _VERSION,
                "numerics_version": NUMERICS_VERSION,
                "spec": self.spec.to_dict(),
                "measures": self.measures.to_dict(),
                "like_probs": self.like_probs,
                "hard_targets": self.hard_targets,
                "parts": values,
                "shapes": shapes,
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        yield "header", MAGIC + len(header).to_bytes(8, "little") + header
        yield from ((name, array.astype("<i8").tobytes()) for name, array in arrays)

    def _parts(self) -> dict[str, AllRows | Groups]:
        return {"all": self.all_rows} | ({} if self.groups is None else {"groups": self.groups})

    def _check_form(self, data: bytes) -> None:
        """Raise StateError for bytes that are not the one form of these totals."""
        at = 0
        for name, part in self._written():
            if data[at : at + len(part)] != part:
                raise StateError(f"its {name} has numbers or words that fastxent does not write")
            at += len(part)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "state", *, trusted: bool = False) -> Totals:
        """Read `to_bytes` back; raises StateError for damage or another version.

        Numbers that no data have are refused as well, unless the bytes are ``trusted``.
        """
        data = bytes(data)
        if len(data) < 48 or data[:8] != MAGIC:
            raise StateError(f"{name}: not a fastxent state file")
        if hashlib.sha256(data[:-32]).digest() != data[-32:]:
            raise StateError(f"{name}: damaged (its checksum does not match); make it again")
        other, length = "", int.from_bytes(data[8:16], "little")
        if length > len(data) - 48:
            raise StateError(f"{name}: damaged (its header is longer than the file); make it again")
        try:
            header = json.loads(data[16 : 16 + length])
            json.dumps(header, ensure_ascii=False).encode()  # no halves of surrogate pairs in names and values
            other = _of_another_version(header, name)
            if other:
                raise StateError(other)
            totals = _load(header, memoryview(data)[16 + length : -32])
            if not trusted:
                totals._check_form(data)
                parts = None if totals.groups is None else totals.group_readings(Readings())
                check_totals(totals.reading(), totals.all_rows, totals.groups, parts)
            return totals
        except StateError as error:
            advice = "" if str(error) == other else "; make it again"
            raise StateError(f"{name}: {error}{advice}") from None
        except _LIES as error:
            raise StateError(f"{name}: damaged ({type(error).__name__}: {error}); make it again") from error


def _of_another_version(header: dict[str, Any], name: str) -> str:
    """Which version a state is of that this one does not read, and the command that helps; empty for one of this."""
    found, own = (header["version"], header["numerics_version"]), (_VERSION, NUMERICS_VERSION)
    if found == own:
        return ""
    what = f"format {found[0]} with numerics version {found[1]}, this fastxent has {own[0]} with {own[1]}"
    if all(theirs >= ours for theirs, ours in zip(found, own, strict=True)):
        return f"{what}: a newer one has written it, so pip install -U fastxent"
    asked = {key: value for key, value in header["spec"].items() if key in _OF_SPEC} | header["measures"]
    flags = []
    for key, value in asked.items():
        if isinstance(value, str | int | float | list) and value and key != "edges":
            words = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            flags += [f"--{key.replace('_', '-')}"] if value is True else [f"--{key.replace('_', '-')}", words]
    return f"{what}: make it again, fastxent evaluate PREDICTIONS {shlex.join([*flags, '--state', name])}"


def _unpacked(data: bytes) -> Totals:
    """Totals that were pickled."""
    return Totals.from_bytes(zlib.decompress(data), trusted=True)


def _load(header: dict[str, Any], body: memoryview) -> Totals:
    """Totals from a header and the arrays after it, whose sizes are checked before anything is allocated."""
    spec = Spec.from_dict(header["spec"])
    given = header["measures"].items()
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given}
    measures = Measures(**values)
    shapes = {name: [tuple(map(int, shape)) for shape in parts] for name, parts in header["shapes"].items()}
    own = list(_shapes(spec, measures).values())
    more = [shape for part in shapes.values() for shape in part]
    if any(size < 0 for shape in more for size in shape) or sum(map(math.prod, own + more)) * 8 != len(body):
        raise StateError("its arrays have other sizes than this version of fastxent gives them")
    totals = Totals(spec, measures)
    if set(shapes) != set(totals._parts()):
        raise StateError("it holds other statistics than it says")
    at = 0

    def take(shape: tuple[int, ...]) -> Any:
        nonlocal at
        count = math.prod(shape)
        array = np.frombuffer(body, "<i8", count, at).reshape(shape)
        at += 8 * count
        return array

    totals.like_probs, totals.hard_targets = bool(header["like_probs"]), bool(header["hard_targets"])
    for name in _ARRAYS:
        array = getattr(totals.tallies, name)
        array[...] = take(array.shape)
    for name, part in totals._parts().items():
        part.load(header["parts"][name], [take(shape) for shape in shapes[name]])
    return totals


def _carry(tallies: Tallies) -> None:
    """Bring low words to their ranges: 0 <= low < 2^bits."""
    classes, calibration = tallies.classes, tallies.calibration
    if classes.size:
        for high, low, bits in (
            (tally.LOSS_MIDDLE, tally.LOSS_LOW, tally.LOW_BITS),
            (tally.LOSS_WHOLE, tally.LOSS_MIDDLE, tally.MIDDLE_BITS),
            (tally.CONF_WHOLE, tally.CONF_LOW, tally.CONF_BITS),
        ):
            _carry_column(classes, high, low, bits)
        _carry_column(calibration, tally.OFFSET_WHOLE, tally.OFFSET_LOW, tally.OFFSET_BITS)


def _carry_column(cells: Any, high: int, low: int, bits: int) -> None:
    over = cells[:, low] >> bits
    cells[:, high] += over
    cells[:, low] -= over << bits
