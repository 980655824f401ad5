"""Spec and batch -> the compiled job that scores it, with the row kernel that the loss names."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import UsageError
from fastxent.base.kinds import KINDS, PATTERNS, Kind, as_floats
from fastxent.data.batch import Batch, Columns, Matrix
from fastxent.data.spec import Spec
from fastxent.engine.likely_forms import look_at
from fastxent.kernels.block_loop import Outputs, Rows, job, no_outputs
from fastxent.kernels.contract import scorecard
from fastxent.kernels.contract.problem import SIZE, Problem, Work, new_work
from fastxent.kernels.rows.gather import rows_of_block
from fastxent.kernels.sums.tally import LATE
from fastxent.losses.base import FEW_CLASSES, KernelKey
from fastxent.sources.decode.numpy_blocks import frozen
from fastxent.statistics.record import RECORD_ROWS, Record

if TYPE_CHECKING:
    from fastxent.totals.totals import Totals

__all__ = ["Scorer"]

#: What a probability that is to be clipped may exceed 1 by, at least.
ABOVE_ONE = 1e-3
_NOTHING = np.zeros(0)
_NO_FATE = np.zeros(0, np.uint8)


def key_of(spec: Spec, batch: Batch, *, full: bool, entropy: bool) -> KernelKey:
    """What decides the machine code that scores batches like this one."""
    predictions = batch.predictions
    return KernelKey(
        task=spec.task,
        form=spec.form,
        kind=predictions.kind,
        target=target_kind(batch.target),
        columns=isinstance(predictions, Columns),
        few=predictions.num_classes <= FEW_CLASSES,
        soft=spec.soft,
        shared=spec.soft or spec.label_smoothing > 0.0,
        weighed=spec.class_weight is not None and not spec.soft and spec.label_smoothing == 0.0,
        normalize=spec.normalize,
        masked=batch.mask is not None,
        full=full,
        entropy=entropy,
    )


def slack(spec: Spec, batch: Batch) -> float:
    """What the probabilities of these rows may sum to beside 1: as in scikit-learn, the root of the machine epsilon.

    -1 where they are not summed.
    """
    summed = spec.task == "multiclass" and spec.form != "logits" and spec.definition.checks_sum
    return math.sqrt(KINDS[batch.predictions.kind].epsilon) if summed else -1.0


def target_kind(target: np.ndarray[Any, Any]) -> str:
    """The kind of number in a target array."""
    return _kind_of(target.dtype)


@cache
def _kind_of(dtype: np.dtype[Any]) -> str:
    name = "uint8" if dtype == np.bool_ else dtype.name
    if name not in SIZE:
        raise UsageError(f"target: expected integers, bool or floats, got {dtype}")
    return name


def make_problem(spec: Spec, batch: Batch) -> tuple[Problem, list[Any]]:
    """The batch as addresses, and what must stay alive while they are used."""
    predictions = batch.predictions
    keep: list[Any] = [batch]
    if isinstance(predictions, Columns):
        addresses = predictions.addresses()
        # Eight columns at least, which is how many are gathered at once: the last one stands for those that lack.
        table = addresses[np.minimum(np.arange(max(8, len(addresses))), len(addresses) - 1)]
        keep.append(table)
        scores, stride = table.ctypes.data, 0
    else:
        scores, stride = predictions.values.ctypes.data, predictions.values.strides[0]
    mask = batch.mask
    problem = Problem(
        scores=scores,
        stride=stride,
        classes=predictions.num_classes,
        target=batch.target.ctypes.data,
        target_stride=batch.target.strides[0],
        mask=0 if mask is None else mask.ctypes.data,
        mask_stride=0 if mask is None else mask.strides[0],
        has_ignore=spec.ignore_index is not None,
        ignore=spec.ignore_index or 0,
        smoothing=float(spec.label_smoothing),
        clip=spec.epsilon(predictions.kind),
        normalize=spec.normalize,
        parameters=np.array([value for _, value in spec.loss_options]),
        class_weight=_NOTHING if spec.class_weight is None else np.array(spec.class_weight),
        pos_weight=_NOTHING if spec.pos_weight is None else np.array(spec.pos_weight),
        summed=spec.label_reduction == "sum",
    )
    return problem, keep


def cut_above_one(batch: Batch) -> Batch:
    """The batch with probabilities of at most 1, which those just above become, as clipping makes them in Keras."""
    predictions, kind = batch.predictions, batch.predictions.kind
    slack = max(ABOVE_ONE, math.sqrt(KINDS[kind].epsilon))

    def cut(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        numbers = as_floats(values, kind)
        numbers = numbers.astype(np.float32) if kind in PATTERNS else numbers
        return frozen(np.where((numbers > 1) & (numbers <= 1 + slack), numbers.dtype.type(1), numbers))

    columns = predictions.columns if isinstance(predictions, Columns) else (predictions.values,)
    if not any((as_floats(column, kind) > 1).any() for column in columns):
        return batch
    wider: Kind = "float32" if kind in PATTERNS else kind
    if isinstance(predictions, Columns):
        return replace(batch, predictions=Columns(tuple(map(cut, predictions.columns)), wider))
    return replace(batch, predictions=Matrix(cut(predictions.values), wider))


class Scorer:
    """Scores batches into totals, with one thread's scratch. ``full`` asks for more than the loss."""

    def __init__(self, spec: Spec, *, full: bool) -> None:
        self._spec = spec
        self._full = full
        self._card = scorecard.new_scorecard()
        self._works: dict[tuple[str, bool], Work] = {}
        self._record: scorecard.Scorecard | None = None
        self._other: tuple[Scorer, scorecard.Scorecard] | None = None
        self._jobs: dict[KernelKey, tuple[Any, bool]] = {}

    def score(self, batch: Batch, totals: Totals, outputs: Outputs | None = None) -> None:
        """Score all rows of the batch; outputs, the record too, are indexed by the row's number in the batch."""
        look_at(batch, totals)
        if self._spec.form == "probs" and self._spec.clip not in (None, "sklearn", "torch"):
            batch = cut_above_one(batch)
        run, gathers = self._job(batch, totals.measures.entropy)
        problem, keep = make_problem(self._spec, batch)
        work = self._scratch(problem.classes, batch.predictions.kind, gathers)
        block = self._rows_at_once(batch, gathers)
        along = Rows(
            _NOTHING if batch.weight is None else batch.weight,
            _NO_FATE if batch.status is None else batch.status,
            slack(self._spec, batch),
        )
        outputs = no_outputs() if outputs is None else outputs
        wanted = outputs.record if outputs.record.status.size else None
        step = LATE
        if totals.reads_records or wanted is not None:
            step = RECORD_ROWS
            if self._record is None:
                self._record = scorecard.new_scorecard(RECORD_ROWS)
            outputs = outputs._replace(record=self._record)
        for lo in range(0, batch.num_rows, step):
            hi = min(lo + step, batch.num_rows)
            totals.prepare(hi - lo)
            run(
                problem,
                lo,
                hi,
                batch.first_id,
                block,
                self._card,
                work,
                along,
                outputs,
                totals.tallies,
            )
            if wanted is not None and self._record is not None:
                wanted.real[:, lo:hi] = self._record.real[:, : hi - lo]
                wanted.whole[:, lo:hi] = self._record.whole[:, : hi - lo]
                wanted.status[lo:hi] = self._record.status[: hi - lo]
            if self._record is not None and totals.reads_records:
                totals.absorb(Record(self._record, hi - lo, lo, batch, self._scores_of))
        del keep

    def _job(self, batch: Batch, entropy: bool) -> tuple[Any, bool]:
        """The compiled job for batches like this one, chosen once, and whether it gathers rows."""
        key = key_of(self._spec, batch, full=self._full, entropy=entropy)
        if key not in self._jobs:
            kernel = self._spec.definition.kernel(key)
            gathers = key.columns and not kernel.reads_columns
            self._jobs[key] = job(kernel.rows, self._spec.reads_weight, key.kind if gathers else ""), gathers
        return self._jobs[key]

    def _scratch(self, classes: int, kind: str, gathers: bool) -> Work:
        """Scratch for rows of these numbers; one file may have columns where another has rows."""
        if (kind, gathers) not in self._works:
            size = SIZE[kind]
            self._works[kind, gathers] = new_work(
                classes,
                size,
                rows_of_block(classes * size) if gathers else 0,
                events=self._spec.task != "multiclass",
            )
        return self._works[kind, gathers]

    def _rows_at_once(self, batch: Batch, gathers: bool) -> int:
        """Rows of a block: so many that what is read more than once stays in the second-level cache."""
        spec, classes = self._spec, batch.predictions.num_classes
        twice = spec.soft or (spec.task == "multiclass" and spec.label_smoothing > 0.0)
        if not (gathers or twice):
            return scorecard.BLOCK
        beside = batch.target.itemsize if spec.soft else 0
        return rows_of_block(classes * (SIZE[batch.predictions.kind] + beside))

    def _scores_of(self, batch: Batch) -> scorecard.Scorecard:
        """Losses and weights of the rows of a batch, a record's at most, that is in no totals."""
        from fastxent.statistics.options import Measures
        from fastxent.totals.totals import Totals

        if self._other is None:
            self._other = Scorer(self._spec, full=False), scorecard.new_scorecard(RECORD_ROWS)
        scorer, card = self._other
        totals = Totals(self._spec, Measures(spread=False, scores=False))
        scorer.score(batch, totals, no_outputs()._replace(record=card))
        return card
