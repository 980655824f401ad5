"""A job: one row kernel, block after block over a range of rows, its scores folded into tallies.

This is where the two stages meet. Each is compiled on its own and called by its address, so a new loss or a
new statistic needs no change here, and a job of another kind needs no more than its row kernel compiled.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numba.core.typing.templates import Signature
from numpy.typing import NDArray

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.compiler.native import address_of, calling
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.scorecard import Scorecard, new_scorecard
from fastxent.kernels.rows.gather import gatherer
from fastxent.kernels.sums.tally import absorber, count_uneven, settle

__all__ = ["Outputs", "Rows", "job", "no_outputs", "then"]

_STEP = 2.0 ** (sc.SCALE_BITS // 2)
_LEAST, _MOST = 1.0 / _STEP, _STEP
_DOWN, _UP = _LEAST * _LEAST, _MOST * _MOST


class Rows(NamedTuple):
    """What comes along with the predictions: sample weights, and statuses the source knew; or empty arrays.

    ``slack``: what the sum of a row's probabilities may differ from 1 by, not to be counted; below 0 nothing is.
    """

    weight: NDArray[np.float64]
    fate: NDArray[np.uint8]
    slack: float


class Outputs(NamedTuple):
    """Where per-row results go, from the row number of the batch; an array without cells is not wanted.

    ``record`` takes the scorecards of all rows of one call, from its first row on.
    """

    loss: NDArray[np.float64]
    p_target: NDArray[np.float64]
    confidence: NDArray[np.float64]
    predicted: NDArray[np.int32]
    rank: NDArray[np.int32]
    status: NDArray[np.uint8]
    record: Scorecard


@cache
def no_outputs() -> Outputs:
    """Outputs that want nothing."""
    real, whole = np.zeros(0), np.zeros(0, np.int32)
    return Outputs(real, real, real, whole, whole, np.zeros(0, np.uint8), new_scorecard(0))


@kernel()
def _write(card: Any, n: int, at: int, out: Any) -> None:
    for i in range(n):
        fine = card.status[i] == sc.SCORED or card.status[i] == sc.ZERO_WEIGHT
        if out.loss.size > 0:
            out.loss[at + i] = card.real[sc.LOSS, i]
        if out.p_target.size > 0:
            out.p_target[at + i] = card.real[sc.P_TARGET, i] if fine else np.nan
            out.confidence[at + i] = card.real[sc.CONFIDENCE, i] if fine else np.nan
            out.predicted[at + i] = card.whole[sc.PREDICTED, i]
            out.rank[at + i] = card.whole[sc.RANK, i]
        if out.status.size > 0:
            out.status[at + i] = sc.SCORED if fine else card.status[i]


@kernel()
def _keep(card: Any, n: int, at: int, record: Any) -> None:
    # Loops, since Numba takes two seconds to compile assignments of slices.
    for k in range(card.real.shape[0]):
        for i in range(n):
            record.real[k, at + i] = card.real[k, i]
    for k in range(card.whole.shape[0]):
        for i in range(n):
            record.whole[k, at + i] = card.whole[k, i]
    for i in range(n):
        record.status[at + i] = card.status[i]


@kernel(inline="always")
def _near_one(x: float) -> Any:
    """A positive number as one from `_LEAST` to `_MOST` times a power of 2^512, and that power."""
    steps = 0
    while x >= _MOST:
        x *= _DOWN
        steps += 1
    while x < _LEAST:
        x *= _UP
        steps -= 1
    return x, steps


@kernel(inline="always")
def _by_steps(x: float, steps: int) -> float:
    """X times 2^(-512 steps)."""
    for _ in range(steps):
        x *= _DOWN
    for _ in range(-steps):
        x *= _UP
    return x


@kernel()
def _weigh_one(card: Any, i: int, sample: float) -> None:
    """`_weigh` for one row of any weight, which it may find to weigh nothing, or too much to be said."""
    real, whole, status = card
    whole[sc.SCALE, i] = 0
    own = real[sc.WEIGHT, i]
    if status[i] != sc.SCORED or sample == 0.0 or own == 0.0:
        if status[i] == sc.SCORED:
            status[i] = sc.ZERO_WEIGHT
        real[sc.SCRATCH, i] = 0.0
        real[sc.WEIGHT, i] = 0.0
        if status[i] == sc.ZERO_WEIGHT and sample > 0.0 and real[sc.LOSS, i] > 0.0:
            # The class weighs nothing, but smoothing gives the others a share of the loss, which torch sums as well.
            w, steps = _near_one(sample)
            if abs(steps) <= sc.MOST_SCALE:
                whole[sc.SCALE, i] = steps
                real[sc.SCRATCH, i] = w * real[sc.LOSS, i]
        return
    w, steps = _near_one(sample)
    own, more = _near_one(own)
    total, last = _near_one(w * own)
    if abs(steps + more + last) > sc.MOST_SCALE:
        status[i] = sc.INVALID_WEIGHT
        for k in range(real.shape[0]):
            real[k, i] = 0.0
        return
    whole[sc.SCALE, i] = steps + more + last
    real[sc.WEIGHT, i] = total
    real[sc.SCRATCH, i] = _by_steps(w * _by_steps(real[sc.LOSS, i], more), last)


@kernel()
def _weigh(card: Any, n: int, weight: Any) -> bool:
    """Multiply in the sample weights: WEIGHT becomes the row's weight, SCRATCH its weighted loss, both by SCALE.

    Rows of weight 0 get their status, and keep their loss. Returns whether all rows are scored.
    """
    real, whole, status = card
    usual = True
    for i in range(n):
        w = real[sc.WEIGHT, i] * (weight[i] if weight.size > 0 else 1.0)
        usual &= (w >= _LEAST) & (w < _MOST)
    if usual:
        for i in range(n):
            w = weight[i] if weight.size > 0 else 1.0
            real[sc.SCRATCH, i] = w * real[sc.LOSS, i]
            real[sc.WEIGHT, i] = w * real[sc.WEIGHT, i]
            whole[sc.SCALE, i] = 0
        return True
    all_scored = True
    for i in range(n):
        _weigh_one(card, i, weight[i] if weight.size > 0 else 1.0)
        all_scored &= status[i] == sc.SCORED
    return all_scored


@kernel()
def _leave_out(card: Any, n: int) -> None:
    """Give rows of weight 0 neutral scores, so that sums need not look at the status."""
    for i in range(n):
        if card.status[i] == sc.ZERO_WEIGHT:
            share = card.real[sc.SCRATCH, i]
            for k in range(card.real.shape[0]):
                card.real[k, i] = 0.0
            card.real[sc.SCRATCH, i] = share


@cache
def then(rows: Any, step: Any, name: str) -> Any:
    """The row kernel that runs ``rows``, then ``step`` (of the same signature) on the scorecard it left."""

    @kernel(variant=name)
    def both(p, lo, n, card, work):
        rows(p, lo, n, card, work)
        step(p, lo, n, card, work)

    return both


@kernel(inline="always")
def as_they_lie(p: Any, lo: int, n: int, work: Any) -> Any:
    """The problem itself: its rows need not be gathered."""
    return p


@cache
def _runner(columns: str, weighted: bool, row_types: Signature, tally_types: Signature) -> Any:
    """Compile ``run(p, lo, hi, first_id, block, card, work, along, out, tallies, rows, absorb)``, which all jobs share.

    ``columns`` is the kind of numbers of one array a class, which are gathered to rows; or "". ``rows`` and ``absorb``
    are addresses of machine code for these types.
    """
    gather = gatherer(columns) if columns else as_they_lie
    score_rows, absorb_rows = calling(row_types), calling(tally_types)

    @kernel(variant=f"{columns}-{weighted}")
    def run(
        p: Any,
        lo: int,
        hi: int,
        first_id: int,
        block: int,
        card: Any,
        work: Any,
        along: Any,
        out: Any,
        tallies: Any,
        rows: int,
        absorb: int,
    ) -> None:
        for start in range(lo, hi, block):
            n = min(block, hi - start)
            stop = start + n
            if weighted or out.record.status.size > 0:
                for i in range(n):
                    card.real[sc.WEIGHT, i] = 1.0
            score_rows(rows, (gather(p, start, n, work), start, n, card, work))
            all_scored = settle(
                card,
                n,
                along.fate[start:stop] if along.fate.size > 0 else along.fate,
                along.weight[start:stop] if along.weight.size > 0 else along.weight,
            )
            if weighted:
                all_scored = _weigh(card, n, along.weight[start:stop] if along.weight.size > 0 else along.weight)
            if out.loss.size > 0 or out.status.size > 0:
                _write(card, n, start, out)
            if weighted and not all_scored:
                _leave_out(card, n)
            if out.record.status.size > 0:
                _keep(card, n, start - lo, out.record)
            if along.slack >= 0.0:
                count_uneven(card, n, first_id + start, along.slack, tallies)
            absorb_rows(absorb, (card, n, first_id + start, all_scored, tallies))

    return run


class _Job:
    """What `job` returns; compiled when it is called first."""

    def __init__(self, rows: Any, weighted: bool, columns: str) -> None:
        self._rows = rows
        self._columns = columns
        self._weighted = weighted
        self._run: Any = None

    def __call__(self, *arguments: Any) -> None:
        if self._run is None:
            p, _, _, _, _, card, work, _, _, tallies = arguments
            self._run = self._bind(p, card, work, tallies)
        self._run(*arguments)

    def _bind(self, p: Any, card: Any, work: Any, tallies: Any) -> Any:
        """The runner with the addresses of what it calls; all of one kind of arguments, which never changes."""
        whole, yes = types.int64, types.boolean
        row_types = types.void(typeof(p), whole, whole, typeof(card), typeof(work))
        tally_types = types.void(typeof(card), whole, whole, yes, typeof(tallies))
        run = _runner(self._columns, self._weighted, row_types, tally_types)
        rows = address_of(self._rows, row_types)
        absorb = address_of(absorber(self._weighted), tally_types)
        return lambda *arguments: run(*arguments, rows, absorb)


@cache
def job(rows: Any, weighted: bool, columns: str = "") -> Any:
    """The job ``run(p, lo, hi, first_id, block, card, work, along, out, tallies)`` of a row kernel: rows lo to hi.

    Row kernels of ``weighted`` problems leave the row's own weight (a class weight, or 1) in WEIGHT. ``columns``: the
    kind of numbers of one array a class, which are gathered to rows, ``block`` of them at a time; or "".
    """
    return _Job(rows, weighted, columns)
