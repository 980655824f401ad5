"""Evaluation in a loop: rows come in updates, and what they say is read at any time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Literal, TypeVar

from fastxent.api.doubt import warn
from fastxent.api.job import ExtraColumns, prepare, that_apply
from fastxent.api.spoken import spoken
from fastxent.base.errors import UsageError
from fastxent.base.version import origin
from fastxent.data.batch import Batch
from fastxent.data.options import LossOptions
from fastxent.engine.invalid_rows import raise_first_invalid
from fastxent.engine.options import RunOptions
from fastxent.engine.plan import Plan
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.threads import thread_count
from fastxent.engine.scorer import Scorer
from fastxent.results.evaluation import Evaluation
from fastxent.results.finish import evaluation_of
from fastxent.sources.options import Inputs
from fastxent.statistics.options import Measures, Readings, requested
from fastxent.statistics.registry import check_readings
from fastxent.totals.state_files import totals_of
from fastxent.totals.totals import Totals

__all__ = ["Evaluator"]

_Options = TypeVar("_Options", Inputs, LossOptions, Readings)


class Evaluator:
    r"""`fastxent.evaluate` for rows that come a batch at a time, as in a training or an inference loop.

    Every `update` adds rows with their losses, :math:`L_i = \log \sum_j e^{z_{ij} - z_{i t_i}}`, and `compute` returns
    the evaluation of all rows so far. However rows are cut into updates, and whatever evaluators are merged, the result
    has the bits of one `fastxent.evaluate` of all rows.

    Args:
        task: "multiclass", "binary" or "multilabel".
        class_names: the classes in the order of the scores; needed for labels that are text.
        labels: the values by which the target names the classes, in the order of the scores, where these are not 0 to C
            - 1: ``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.
        dtype: kind of number in packed columns ("float16", "bfloat16", "float32", "float64").
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
        loss: "cross_entropy", "entropy" (of the predictions; the target is read and not used), "focal"
            (`fastxent.focal_loss`), "kl_divergence" (of the predictions from the targets, which are in their form:
            logits beside ``logits``, ...), "poly1" (`fastxent.poly1_loss`).
        class_weight: weights by class, a sequence in class order or a dict.
        pos_weight: weight of the positive term of binary and multilabel losses, one number or one a label.
        label_reduction: the loss of a multilabel row: the "mean" of its labels' losses (Keras, torch), or their "sum".
        label_smoothing: in [0, 1].
        ignore_index: rows with this label are counted as ignored and enter nothing else.
        on_invalid: "raise", "skip" and count, or "propagate" NaN.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        gamma: exponent of the focal loss, at least 0; 0 gives the cross-entropy.
        epsilon: weight that the Poly-1 loss adds to 1 - p, at least -1; 0 gives the cross-entropy.
        worst: so many rows of the highest loss are kept, of every group too (``ev.worst``, ``ev.group_worst``).
        worst_per_class: so many rows of the highest loss of each true class are kept (``ev.worst_per_class``).
        label_errors: so many rows that are likeliest to be labeled wrong are kept (``ev.label_errors``).
        statistics: "entropy" (of the predictions; multiclass), "ranking" (ROC AUC, average precision, curves and
            thresholds of labels, and of classes each against the rest; of binary tasks finer than those that there are
            anyway), "temperature" (the loss of the logits divided by a grid of temperatures), "classwise" (calibration
            of every class, and the parts of the multiclass Brier score).
        top_k: the k of top-k accuracies; by default 1, 3, 5 and 10 below the number of classes.
        bins: bins of the calibration; by default 15, or what the library that ``binning`` names takes.
        binning: how confidence is cut into bins; see `Evaluation.calibrate`.
        base: unit of the losses and entropies of the result: None for nats, 2 for bits, 10 for bans. Perplexities are
            the same in each, and what is called bits is bits.
        threads: threads to use; all processors by default.

    Raises:
        UsageError: the arguments contradict each other.

    Examples:
        >>> import fastxent as fx
        >>> evaluator = fx.Evaluator()
        >>> for logits, target in [([[2.0, 0.0]], [0]), ([[0.0, 2.0]], [0])]:
        ...     evaluator.update(target, logits=logits)
        >>> ev = evaluator.compute()
        >>> ev.num_rows, round(ev.loss, 6)
        (2, 1.126928)
    """

    @spoken
    def __init__(
        self,
        *,
        task: Literal["multiclass", "binary", "multilabel"] = "multiclass",
        class_names: Iterable[str] | None = None,
        labels: Iterable[Any] | None = None,
        dtype: str | None = None,
        axis: int | None = None,
        loss: Literal["cross_entropy", "entropy", "focal", "kl_divergence", "poly1"] = "cross_entropy",
        class_weight: Iterable[float] | Mapping[Any, float] | None = None,
        pos_weight: float | Iterable[float] | None = None,
        label_reduction: Literal["mean", "sum"] = "mean",
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        on_invalid: Literal["raise", "skip", "propagate"] = "raise",
        clip: float | str | None = None,
        normalize: bool = False,
        gamma: float = 2.0,
        epsilon: float = 1.0,
        worst: int = 0,
        worst_per_class: int = 0,
        label_errors: int = 0,
        statistics: str | Iterable[str] = (),
        top_k: Iterable[int] | None = None,
        bins: int | None = None,
        binning: Literal["equal_width", "equal_mass", "torchmetrics", "sklearn", "netcal"] = "equal_width",
        base: float | None = None,
        threads: int | None = None,
    ) -> None:
        inputs = Inputs(task=task, class_names=class_names, labels=labels, dtype=dtype, axis=axis)
        loss_options = LossOptions(
            loss=loss, class_weight=class_weight, pos_weight=pos_weight, label_reduction=label_reduction,
            label_smoothing=label_smoothing, ignore_index=ignore_index, on_invalid=on_invalid, clip=clip,
            normalize=normalize, own={"gamma": gamma, "epsilon": epsilon},
        )  # fmt: skip
        measures = Measures(
            worst=worst, worst_per_class=worst_per_class, label_errors=label_errors, statistics=requested(statistics),
        )  # fmt: skip
        readings = Readings(top_k=top_k, bins=bins, binning=binning, base=base)
        run_options = RunOptions(threads=threads)
        self._inputs, self._loss, self._readings = _kept(inputs), _kept(loss_options), _kept(readings)
        self._measures = measures
        self._threads = thread_count(run_options.threads)
        self.reset()

    def reset(self) -> None:
        """Forget all rows, and what the first of them decided: form, classes, columns."""
        self._totals: Totals | None = None
        self._scorer: Scorer | None = None
        self._apart: Totals | None = None
        self._updates = 0

    @property
    def num_rows(self) -> int:
        """The rows so far, those that were not scored among them."""
        return 0 if self._totals is None else int(self._totals.tallies.rows.sum())

    @spoken
    def update(
        self,
        target: Any = None,
        *,
        logits: Any = None,
        probs: Any = None,
        log_probs: Any = None,
        losses: Any = None,
        target_log_probs: Any = None,
        weight: Any = None,
        mask: Any = None,
        group_by: Any = (),
        cluster_by: Any = None,
        units: Any = None,
        keep: Any = (),
    ) -> None:
        """Add the rows of a batch. An update that raises leaves nothing behind.

        Args:
            target: class indices (n,), distributions (n, C), or 0 and 1: arrays or tensors, as all that follows; what
                lies in the memory of a device is copied from there. Losses need none.
            logits: unnormalized scores (n, C), or (n,) for a binary task. Give exactly one of ``logits``, ``probs`` and
                ``log_probs``; the first update decides which.
            probs: probabilities, likewise.
            log_probs: logarithms of probabilities, likewise.
            losses: instead of predictions and a target, losses (n,) in nats.
            target_log_probs: instead of them, log-probabilities of the targets (n,).
            weight: (n,) sample weights of at least 0.
            mask: (n, L) bool that says which labels of a multilabel row count.
            group_by: values by which statistics are gathered as well: (n,), or a dict of arrays by name, crossed.
            cluster_by: ids of rows that belong together (documents, users): the standard error respects them.
            units: the number of units (bytes, words) of a row.
            keep: dict of arrays by name whose values are kept with the worst rows.

        Raises:
            UsageError: the arguments contradict each other, or are not like those of the first update.
            InvalidRowError: a row cannot be scored, and ``on_invalid`` is "raise"; rows are counted from the first
                update on.
        """
        extra = ExtraColumns(by_name=False)
        columns: dict[str, Any] = {
            "group_by": extra.several("group_by", group_by),
            "cluster_by": extra.one("cluster_by", cluster_by),
            "units": extra.one("units", units),
            "keep": extra.several("keep", keep),
        }
        columns["edges"] = extra.bins
        if quantiles := [name for name, bins in extra.bins if isinstance(bins, int)]:
            raise UsageError(f"group_by: quantiles of {quantiles[0]!r} are of rows that are not here yet; give edges")
        inputs = replace(
            self._inputs, target=_on_host(target), logits=_on_host(logits), probs=_on_host(probs),
            log_probs=_on_host(log_probs), losses=_on_host(losses), target_log_probs=_on_host(target_log_probs),
            weight=_on_host(weight), mask=_on_host(mask),
        )  # fmt: skip
        found = {name: _on_host(values) for name, values in extra.arrays.items()}
        source, spec = prepare(inputs, self._loss, extra=found)
        measures = that_apply(replace(self._measures, **columns), spec)
        n = self.num_rows
        splits = tuple(
            replace(each, first_row=each.first_row + n, first_id=each.first_id + n) for each in source.splits()
        )
        self._add(Plan(source, spec, measures, splits))
        self._updates += 1

    def _add(self, plan: Plan) -> None:
        """Add the rows of an update: one that is large enough for several splits by threads."""
        totals = self._totals
        if totals is None:
            check_readings(plan.spec, plan.measures, self._readings)
            totals = plan.new_totals()
        elif difference := totals.difference(plan.spec, plan.measures):
            raise UsageError(f"update {self._updates + 1} is not like those before: {difference}; reset() begins anew")
        if self._scorer is None:
            self._scorer = Scorer(plan.spec, full=plan.measures.full)
        if len(plan.splits) > 1:
            totals.merge(on_threads.run(plan, self._threads).totals)
        else:
            for batch in (batch for split in plan.splits for batch in plan.source.read(split)):
                if plan.spec.on_invalid == "raise":
                    self._check(batch, plan, self._scorer)
                self._scorer.score(batch, totals)
        self._totals = totals

    def _check(self, batch: Batch, plan: Plan, scorer: Scorer) -> None:
        """Raise InvalidRowError for the first row of a batch that is invalid: it is scored apart from the others."""
        apart, self._apart = self._apart, None
        if apart is None:
            light = Measures(spread=False, scores=False, statistics=("entropy",) if plan.measures.entropy else ())
            apart = Totals(plan.spec, light)
        scorer.score(batch, apart)
        raise_first_invalid(apart, batch)
        self._apart = apart  # all its rows are valid, so the next batch finds it as good as new

    def compute(self) -> Evaluation:
        """What all rows so far say; later updates do not change it.

        Raises:
            UsageError: there was no update yet.
        """
        if self._totals is None:
            raise UsageError("compute: there are no rows yet; call update() first")
        totals = Totals(self._totals.spec, self._totals.measures)
        totals.merge(self._totals)
        result = evaluation_of(totals, {"updates": self._updates, **origin()}, self._readings)
        warn(result.doubts)
        return result

    def merge(self, other: Evaluator | Totals | bytes | str | os.PathLike[str]) -> None:
        """Add all rows of another evaluator, of its bytes, or of a state file (`Evaluation.totals` too).

        They are numbered after the rows so far.

        Raises:
            StateError: the two measure different things, or the bytes are damaged.
        """
        if isinstance(other, Evaluator):
            theirs = other._totals
        else:
            theirs = totals_of(os.fspath(other) if isinstance(other, os.PathLike) else other)
        if theirs is None:
            return
        if self._totals is None:
            self._totals = Totals(theirs.spec, theirs.measures)
        self._totals.add_after(theirs)

    def to_bytes(self) -> bytes:
        """All rows so far as the bytes of a state file, which `fastxent merge` reads as well.

        Raises:
            UsageError: there was no update yet.
        """
        if self._totals is None:
            raise UsageError("to_bytes: there are no rows yet; call update() first")
        return self._totals.to_bytes()

    @classmethod
    def from_bytes(cls, state: bytes, **options: Any) -> Evaluator:
        """An evaluator with the rows that `to_bytes` wrote; ``options`` are those of the constructor.

        Raises:
            StateError: the bytes are damaged or of another version.
        """
        evaluator = cls(**options)
        evaluator.merge(state)
        return evaluator

    def __repr__(self) -> str:
        return f"Evaluator({self._updates:,} updates, {self.num_rows:,} rows)"


def _kept(options: _Options) -> _Options:
    """Options that can be read again and again: what iterators give, once and for all."""
    said = {each.name: getattr(options, each.name) for each in fields(options)}
    read: dict[str, Any] = {name: tuple(value) for name, value in said.items() if isinstance(value, Iterator)}
    return replace(options, **read)


def _on_host(value: Any) -> Any:
    """A tensor in the memory of a device, copied to that of the host; anything else as it is."""
    device = getattr(getattr(value, "device", None), "type", "cpu")
    if device not in ("cpu", "meta") and hasattr(value, "detach"):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {name: _on_host(each) for name, each in value.items()}
    return value
