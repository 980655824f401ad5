"""Spec and batch -> the compiled job that scores it: the only place that chooses a row kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import UsageError
from fastxent.base.kinds import KINDS
from fastxent.data.batch import Batch, Columns
from fastxent.data.spec import Spec
from fastxent.kernels.block_loop import Outputs, Rows, job, no_outputs, then
from fastxent.kernels.contract import scorecard
from fastxent.kernels.contract.problem import SIZE, Problem, Work, new_work
from fastxent.kernels.rows.gather import rows_of_block
from fastxent.kernels.sums.tally import LATE
from fastxent.statistics.registry import RECORD_ROWS, Record

if TYPE_CHECKING:
    from fastxent.totals.totals import Totals

__all__ = ["Scorer"]

#: Up to this many classes a row-major matrix is scored with one row a lane. Measured on AVX2, float32, loss alone:
#: at 32 classes 1.2 ns a score in cache against 1.7 with the lanes along the row; out of memory the latter takes
#: 0.87 of the time at 64 classes and 0.81 at 100.
FEW_CLASSES = 48

_NOTHING = np.zeros(0)
_NO_FATE = np.zeros(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A row kernel with the name that tells it from all others; ``reads_columns``: one array a class, as they are."""

    rows: Any
    name: str
    reads_columns: bool = False


def choose_kernel(spec: Spec, batch: Batch, full: bool, entropy: bool = False) -> Kernel:
    """The row kernel for this loss, task, form, layout and type of numbers; then the predictions' ``entropy``."""
    if spec.loss == "entropy":
        return _entropy(spec, batch)
    if spec.loss == "kl_divergence":
        return _divergence(spec, batch)
    kernel = _focal(spec, batch, full) if spec.loss == "focal" else _cross_entropy(spec, batch, full, by_row=entropy)
    if spec.class_weight is not None and not spec.soft and spec.label_smoothing == 0.0:
        from fastxent.kernels.rows.soft_targets import weigh_rows

        kernel = _then(kernel, weigh_rows, "weighed")
    return _with_entropy(kernel, spec, batch) if entropy else kernel


def _then(kernel: Kernel, step: Any, name: str) -> Kernel:
    name = f"{kernel.name}-{name}"
    return Kernel(then(kernel.rows, step, name), name, kernel.reads_columns)


def _kinds(batch: Batch) -> tuple[str, str]:
    """Kinds of the predictions' and the target's numbers."""
    return batch.predictions.kind, target_kind(batch.target)


def _entropy(spec: Spec, batch: Batch) -> Kernel:
    from fastxent.kernels.rows import entropy

    kind, _ = _kinds(batch)
    name = f"entropy-{spec.form}-{kind}"
    rows = then(entropy.clear, entropy.entropy(spec.form, kind), name)
    return _then(Kernel(rows, name), entropy.as_loss, "loss")


def _with_entropy(kernel: Kernel, spec: Spec, batch: Batch) -> Kernel:
    """The kernel, and after it the entropy of the predictions."""
    from fastxent.kernels.rows import entropy

    kind, _ = _kinds(batch)
    return _then(kernel, entropy.entropy(spec.form, kind), f"entropy-{spec.form}")


def _divergence(spec: Spec, batch: Batch) -> Kernel:
    from fastxent.kernels.rows import kl_divergence

    kind, target = _kinds(batch)
    return Kernel(kl_divergence.kl(spec.form, kind, target), f"kl-{spec.form}-{kind}-{target}")


def _focal(spec: Spec, batch: Batch, full: bool) -> Kernel:
    from fastxent.kernels.rows import focal

    kind, target = _kinds(batch)
    few = batch.predictions.num_classes <= FEW_CLASSES
    if spec.task != "multiclass":
        masked = batch.mask is not None
        step = focal.of_events(spec.form, kind, target, spec.task, masked)
        return _then(_cross_entropy(spec, batch, full), step, "focal")
    if spec.soft or spec.label_smoothing > 0.0:
        rows = focal.of_classes(spec.form, kind, target, spec.soft, full, few)
        return Kernel(rows, f"focal-{spec.form}-{kind}-{target}-{spec.soft}-{full}-{few}")
    if spec.form == "log_probs" and not spec.normalize:
        return _then(_cross_entropy(spec, batch, full), focal.focal, "focal")
    step = focal.of_labels(spec.form, kind)
    return _then(_cross_entropy(spec, batch, full, by_row=True), step, f"focal-{spec.form}-{kind}")


def _cross_entropy(spec: Spec, batch: Batch, full: bool, *, by_row: bool = False) -> Kernel:
    """``by_row``: a step that follows reads rows too, so columns have to be gathered."""
    kind, target = _kinds(batch)
    form = spec.form
    few = batch.predictions.num_classes <= FEW_CLASSES
    if spec.task == "binary":
        from fastxent.kernels.rows.binary import binary

        return Kernel(binary(form, kind, target, full), f"binary-{form}-{kind}-{target}-{full}")
    if spec.task == "multilabel":
        from fastxent.kernels.rows.multilabel import multilabel

        masked = batch.mask is not None
        return Kernel(
            multilabel(form, kind, target, full, masked),
            f"multilabel-{form}-{kind}-{target}-{full}-{masked}",
        )
    if spec.soft or spec.label_smoothing > 0.0:
        from fastxent.kernels.rows import soft_targets

        make, name = (soft_targets.soft, "soft") if spec.soft else (soft_targets.smoothed, "smoothed")
        return Kernel(make(form, kind, target, full, few), f"{name}-{form}-{kind}-{target}-{full}-{few}")
    if form != "logits":
        from fastxent.kernels.rows import probs

        rows = probs.hard(form, kind, target, full)
        return Kernel(rows, f"simplex-{form}-{kind}-{target}-{full}")
    from fastxent.kernels.rows.softmax_across import across
    from fastxent.kernels.rows.softmax_along import along

    if few:
        # The one kernel that takes columns as they are.
        columns = isinstance(batch.predictions, Columns) and not by_row
        return Kernel(across(kind, target, full, columns), f"across-{kind}-{target}-{full}-{columns}", columns)
    return Kernel(along(kind, target, full), f"along-{kind}-{target}-{full}")


def slack(spec: Spec, batch: Batch) -> float:
    """What the probabilities of these rows may sum to beside 1: as in scikit-learn, the root of the machine epsilon.

    -1 where they are not summed.
    """
    summed = spec.task == "multiclass" and spec.form != "logits" and spec.loss in ("cross_entropy", "focal")
    return math.sqrt(KINDS[batch.predictions.kind].epsilon) if summed else -1.0


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
        gamma=spec.gamma,
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
        self._works: dict[tuple[str, bool], Work] = {}
        self._record: scorecard.Scorecard | None = None
        self._other: tuple[Scorer, scorecard.Scorecard] | None = None
        self._jobs: dict[tuple[Any, ...], tuple[Any, bool]] = {}

    def score(self, batch: Batch, totals: Totals, outputs: Outputs | None = None) -> None:
        """Score all rows of the batch; outputs are indexed by the row's number in the batch."""
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
        step = LATE
        if totals.statistics:
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
            if self._record is not None and totals.statistics:
                totals.absorb(Record(self._record, hi - lo, lo, batch, self._scores_of))
        del keep

    def _job(self, batch: Batch, entropy: bool) -> tuple[Any, bool]:
        """The compiled job for batches like this one, chosen once, and whether it gathers rows."""
        predictions = batch.predictions
        few = predictions.num_classes <= FEW_CLASSES
        like = (predictions.kind, type(predictions), few, batch.target.dtype, batch.mask is not None, entropy)
        if like not in self._jobs:
            kernel = choose_kernel(self._spec, batch, self._full, entropy)
            gathers = isinstance(predictions, Columns) and not kernel.reads_columns
            columns = predictions.kind if gathers else ""
            self._jobs[like] = job(kernel.rows, self._spec.reads_weight, columns), gathers
        return self._jobs[like]

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
