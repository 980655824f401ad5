"""Totals that were read are held to what sums of any data obey: laws of statistics, and parts that make the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fastxent.base import exact
from fastxent.base.errors import StateError
from fastxent.base.status import Status
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.all_rows import AllRows
from fastxent.statistics.groups import Groups, Keys
from fastxent.statistics.kept_rows import MOST_ROWS
from fastxent.statistics.owner_sums import OrderedSums
from fastxent.statistics.reading import Reading
from fastxent.statistics.row_keeper import RowKeeper

__all__ = ["check_totals"]

#: Rows that there may be: a trillion, so that sums of counts cannot overflow.
_MOST_ROWS = 1 << 40
_NEVER = np.iinfo(np.int64).max
#: Sums to which rows add that weigh nothing and are in no group: those of a class without weight, by smoothing.
_LATE = ("weighted_loss", "cross", "weighted_square", "units_xy", "units_yy")


def check_totals(whole: Reading, all_rows: AllRows, groups: Groups | None, parts: tuple[Keys, Reading] | None) -> None:
    """Raise StateError for what all rows and their groups say if no data have it: the error says what disagrees."""
    with np.errstate(all="ignore"):
        for problem in _problems(whole, all_rows, groups, parts):
            raise StateError(f"no data have these numbers: {problem}")


def _problems(
    whole: Reading, all_rows: AllRows, groups: Groups | None, parts: tuple[Keys, Reading] | None
) -> Iterator[str]:
    yield from _of_tallies(all_rows.tallies)
    yield from (problem for problem, _ in _broken(whole))
    keepers = list(all_rows.keepers.values())
    if groups is not None and parts is not None:
        for problem, owner in _broken(parts[1]):
            (group,) = parts[0].beside({}, np.array([owner])).to_pylist()
            yield f"of group {', '.join(f'{name}={value!r}' for name, value in group.items())}, {problem}"
        together = groups.together()
        late = whole.spec.class_weight is not None and all_rows.tallies.rows[Status.ZERO_WEIGHT] > 0
        yield from _of_parts(all_rows, together, _LATE if late else ())
        yield from _of_kept(all_rows.keepers, together.groups.keepers)
        keepers += together.groups.keepers.values()
    yield from _of_same_rows(keepers)


def _of_tallies(tallies: Tallies) -> Iterator[str]:
    """What does not agree among the counters of all rows."""
    rows, first = tallies.rows, tallies.first
    if rows.min() < 0 or rows.sum(dtype=np.float64) >= _MOST_ROWS or rows[len(Status) :].any():
        yield "a count of rows is below 0 or above a trillion, or for no reason that there is"
    scored = int(rows[Status.SCORED])
    if not 0 <= tallies.uneven[0] <= scored:
        yield "more rows have probabilities that do not sum to 1 than there are"
    counted = np.append(rows[: tally.UNEVEN], tallies.uneven)
    counted[Status.SCORED] = 0
    if (first < 0).any() or (first[first != _NEVER] >= MOST_ROWS).any() or ((first == _NEVER) != (counted == 0)).any():
        yield "there is a first row of a kind of which there are none, or the other way round"
    for name in ("histogram", "ranks", "classes", "confusion"):
        cells = getattr(tallies, name)
        if cells.size and (cells.min() < 0 or cells.max() >> 62):
            yield f"a cell of {name} is below 0 or too large"
    if tallies.calibration[:, : tally.OFFSET_WHOLE].min(initial=0) < 0:
        yield "a cell of calibration has fewer rows than none"
    if tallies.classes.size and (
        tallies.classes[:, tally.INFINITE].sum() > scored
        or (tallies.confusion.size and tallies.classes[:, [tally.SUPPORT, tally.CORRECT, tally.PREDICTED]].any())
    ):
        yield "classes have other rows than there are"
    if not tallies.histogram.size and tallies.extremes.tolist() != [_NEVER, -1]:
        yield "there are extremes of the losses, which were not gathered"
    special = tallies.sums[:, exact.N_NAN :]
    if special.size and (special.min() < 0 or special.max() > 2 * scored + rows[Status.ZERO_WEIGHT]):
        yield "a sum has more infinities than rows"
    if (tallies.sums[: tally.WEIGHT, exact.N] != scored).any() or tallies.sums[tally.WEIGHT :, exact.N].any():
        yield "a sum is not of the scored rows"
    if not scored and tallies.sums[: tally.WEIGHT].any():
        yield "no row is scored, and there is a sum of losses"


def _broken(reading: Reading) -> Iterator[tuple[str, int]]:
    """The laws that do not hold, and an owner for which they do not."""
    for statistic in reading.statistics.values():
        for problem, holds in statistic.laws(reading):
            if not holds.all():
                yield problem, int(np.argmin(holds))


def _of_parts(whole: AllRows, parts: OrderedSums, other: tuple[str, ...]) -> Iterator[str]:
    """What all groups together have otherwise than all rows, but for the sums that may be ``other``."""
    scored = whole.counts[0]
    if not len(parts.counts):
        if scored:
            yield "rows are scored, and there are no groups"
        return
    if parts.counts[0] != scored:
        yield f"the groups have {parts.counts[0]:,} rows, and {scored:,} are scored"
    for name in parts.groups.names:
        mine, theirs = whole.exact(name), parts.exact(name)
        if name not in other and mine is not None and theirs is not None and not mine.equals(theirs).all():
            yield f"the sums ({name}) of the groups do not add up to that of all rows"
    if whole.tallies.histogram.size and (parts.extremes != whole.extremes).any():
        yield "the extremes of the losses are not those of the groups"
    for name in parts.groups.tables:
        cells, own = whole.cells(name), parts.cells(name)
        if cells is None or own is None or cells.level or own.level:
            continue
        columns = slice(None) if cells.columns.shape == own.columns.shape else slice(2)
        if not (
            np.array_equal(cells.places, own.places)
            and np.array_equal(cells.columns[:, columns], own.columns[:, columns])
        ):
            yield f"the cells ({name}) of the groups do not add up to those of all rows"


def _of_kept(whole: Mapping[str, RowKeeper], parts: Mapping[str, RowKeeper]) -> Iterator[str]:
    """Whether the first rows of all are the first of the groups'."""
    one = np.zeros(1, np.int64)
    for name, keeper in whole.items():
        if keeper.level or parts[name].level:
            continue
        (_, mine), (_, theirs) = keeper.values(one), parts[name].values(one)
        if any(not np.array_equal(mine[each], theirs[each]) for each in ("key", "id", "row", *keeper.told)):
            yield f"the rows kept of all ({name}) are not the first of those of the groups"


def _of_same_rows(keepers: Sequence[RowKeeper]) -> Iterator[str]:
    """Whether a row that is kept more than once is the same everywhere."""
    rows: dict[int, tuple[int, ...]] = {}
    for keeper in keepers:
        _, values = keeper.values(np.zeros(1, np.int64))
        fields = [values[name].view(np.int64).tolist() for name in ("row", *keeper.told)]
        for number, row in zip(values["id"].tolist(), zip(*fields, strict=True), strict=True):
            if rows.setdefault(number, row) != row:
                yield f"row {number:,} is kept twice, with different numbers"
                return
