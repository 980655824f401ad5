"""Spec and batch -> the compiled job that scores it: the only place that chooses a row kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.batch import Batch, Columns
from fastxent.errors import UsageError
from fastxent.kernels import scorecard
from fastxent.kernels.jobs import Outputs, Rows, job, no_outputs
from fastxent.kernels.problem import SIZE, Problem, Work, new_work
from fastxent.kernels.tally import LATE
from fastxent.spec import Spec
from fastxent.statistics import RECORD_ROWS, Record

if TYPE_CHECKING:
    from fastxent.totals import Totals

__all__ = ["Scorer"]

#: Up to this many classes a row-major matrix is scored with one row a lane. Measured on AVX2, float32:
#: at 10 classes 1.11 GB/s against 0.67 with the lanes along the row, at 100 classes 1.83 against 2.51.
FEW_CLASSES = 48

_NOTHING = np.zeros(0)
_NO_FATE = np.zeros(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A row kernel with the name that tells it from all others."""

    rows: Any
    name: str


def choose_kernel(spec: Spec, batch: Batch, full: bool) -> Kernel:
    """The row kernel for this task, form, layout and type of numbers."""
    predictions = batch.predictions
    columns = isinstance(predictions, Columns)
    kind = predictions.kind
    target = target_kind(batch.target)
    if spec.task == "binary":
        from fastxent.kernels import sigmoid

        return Kernel(
            sigmoid.binary(spec.form, kind, target, full), f"binary-{spec.form}-{kind}-{target}-{full}"
        )
    if spec.task == "multilabel":
        from fastxent.kernels import sigmoid

        masked = batch.mask is not None
        return Kernel(
            sigmoid.multilabel(spec.form, kind, target, full, masked, columns),
            f"multilabel-{spec.form}-{kind}-{target}-{full}-{masked}-{columns}",
        )
    if spec.soft:
        from fastxent.kernels import soft

        return Kernel(
            soft.soft(spec.form, kind, target, full, columns), f"soft-{spec.form}-{kind}-{target}-{full}-{columns}"
        )
    if spec.label_smoothing > 0.0:
        from fastxent.kernels import soft

        return Kernel(
            soft.smoothed(spec.form, kind, target, full, columns),
            f"smoothed-{spec.form}-{kind}-{target}-{full}-{columns}",
        )
    kernel = _hard_kernel(spec, kind, target, full, columns, predictions.num_classes)
    if spec.class_weight is None:
        return kernel
    from fastxent.kernels import soft

    return Kernel(soft.weighed(kernel.rows, kernel.name), f"weighed-{kernel.name}")


def _hard_kernel(spec: Spec, kind: str, target: str, full: bool, columns: bool, classes: int) -> Kernel:
    if spec.form != "logits":
        from fastxent.kernels import simplex

        rows = simplex.hard(spec.form, kind, target, full, columns)
        return Kernel(rows, f"simplex-{spec.form}-{kind}-{target}-{full}-{columns}")
    from fastxent.kernels import softmax

    if columns or classes <= FEW_CLASSES:
        return Kernel(
            softmax.across(kind, target, full, columns), f"across-{kind}-{target}-{full}-{columns}"
        )
    return Kernel(softmax.along(kind, target, full), f"along-{kind}-{target}-{full}")


def target_kind(target: np.ndarray[Any, Any]) -> str:
    """The kind of number in a target array."""
    name = "uint8" if target.dtype == np.bool_ else target.dtype.name
    if name not in SIZE:
        raise UsageError(f"target: expected integers, bool or floats, got {target.dtype}")
    return name


def make_problem(spec: Spec, batch: Batch) -> tuple[Problem, list[Any]]:
    """The batch as addresses, and what must stay alive while they are used."""
    predictions = batch.predictions
    keep: list[Any] = [batch]
    if isinstance(predictions, Columns):
        table = np.array([column.ctypes.data for column in predictions.columns], np.int64)
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
        gamma=0.0,
        class_weight=_NOTHING if spec.class_weight is None else np.array(spec.class_weight),
        pos_weight=_NOTHING if spec.pos_weight is None else np.array(spec.pos_weight),
    )
    return problem, keep


class Scorer:
    """Scores batches into totals, with one thread's scratch. ``full`` asks for more than the loss."""

    def __init__(self, spec: Spec, *, full: bool) -> None:
        self._spec = spec
        self._full = full
        self._card = scorecard.new_scorecard()
        self._work: Work | None = None
        self._record: scorecard.Scorecard | None = None

    def score(self, batch: Batch, totals: Totals, outputs: Outputs | None = None) -> None:
        """Score all rows of the batch; outputs are indexed by the row's number in the batch."""
        kernel = choose_kernel(self._spec, batch, self._full)
        problem, keep = make_problem(self._spec, batch)
        size = SIZE[batch.predictions.kind]
        if self._work is None:
            self._work = new_work(problem.classes, size)
        along = Rows(
            _NOTHING if batch.weight is None else batch.weight,
            _NO_FATE if batch.status is None else batch.status,
        )
        outputs = no_outputs() if outputs is None else outputs
        step = LATE
        if totals.statistics:
            step = RECORD_ROWS
            if self._record is None:
                self._record = scorecard.new_scorecard(RECORD_ROWS)
            outputs = outputs._replace(record=self._record)
        run = job(kernel.rows, kernel.name)
        for lo in range(0, batch.num_rows, step):
            hi = min(lo + step, batch.num_rows)
            totals.prepare(hi - lo)
            run(
                problem,
                lo,
                hi,
                batch.first_id,
                self._card,
                self._work,
                along,
                outputs,
                self._spec.reads_weight,
                totals.tallies,
            )
            if self._record is not None and totals.statistics:
                totals.absorb(Record(self._record, hi - lo, lo, batch))
        del keep
