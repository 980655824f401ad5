"""The terms of row losses: of a distribution one a class, -q_c log p_c, of several labels one a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.status import Status
from fastxent.data.batch import Batch, Columns, Matrix
from fastxent.data.spec import Spec
from fastxent.engine.scorer import Scorer, make_problem
from fastxent.kernels.block_loop import no_outputs
from fastxent.kernels.contract.problem import SIZE, new_work
from fastxent.sources.source import Source
from fastxent.statistics.options import Measures
from fastxent.totals.totals import Totals

__all__ = ["terms_of"]

Numbers = NDArray[np.float64]


def terms_of(source: Source, spec: Spec, losses: Numbers, status: NDArray[np.uint8]) -> Numbers:
    """The terms of rows whose ``losses`` and ``status`` are known: 0 where nothing counts, NaN of invalid rows."""
    if spec.task == "binary":
        return losses
    if spec.task == "multiclass" and spec.loss != "cross_entropy":
        raise UsageError(f"reduction 'elementwise' applies to cross_entropy and to labels, and this is {spec.loss}")
    terms = np.zeros((source.num_rows, spec.num_classes))
    of_batch = _of_classes if spec.task == "multiclass" else _of_labels
    for batch in _batches(source):
        rows = slice(batch.first_id, batch.first_id + batch.num_rows)
        terms[rows] = of_batch(batch, spec, losses[rows], status[rows] == Status.SCORED)
    terms[status == Status.IGNORED] = 0.0
    terms[status > Status.ZERO_WEIGHT] = np.nan
    return terms


def _batches(source: Source) -> Iterator[Batch]:
    """All batches, their predictions row by row."""
    for batch in (batch for split in source.splits() for batch in source.read(split)):
        scores = batch.predictions
        if isinstance(scores, Columns):
            batch = replace(batch, predictions=Matrix(np.stack(list(scores.columns), axis=1), scores.kind))
        yield batch


def _of_classes(batch: Batch, spec: Spec, losses: Numbers, scored: NDArray[np.bool_]) -> Numbers:
    """What classes cost, times their shares of the target; where one class has all, that is the loss of the row."""
    shares = np.zeros((batch.num_rows, spec.num_classes))
    if spec.soft:
        shares[scored] = batch.target[scored]
    else:
        shares[scored, batch.target[scored].astype(np.int64)] = 1.0
    one = (np.count_nonzero(shares, axis=1) == 1) & (shares.max(axis=1) == 1.0) & (spec.label_smoothing == 0.0)
    if one.all() or not scored.any():
        return shares * losses[:, None] if np.isfinite(losses).all() else np.where(shares > 0.0, losses[:, None], 0.0)
    terms = _costs(batch, spec)
    shares = shares * (1.0 - spec.label_smoothing) + spec.label_smoothing / spec.num_classes
    if spec.class_weight is not None:
        shares *= np.array(spec.class_weight)
    with np.errstate(invalid="ignore"):
        terms = np.where(shares > 0.0, shares * terms, 0.0)
    return np.where(one[:, None], np.where(shares > 0.0, losses[:, None], 0.0), terms)


def _costs(batch: Batch, spec: Spec) -> Numbers:
    """-log p of every class."""
    from fastxent.kernels.rows.class_terms import class_terms

    problem, keep = make_problem(spec, batch)
    kind, classes = batch.predictions.kind, spec.num_classes
    costs = np.empty((batch.num_rows, -(-classes // 8) * 8))
    class_terms(spec.form, kind)(problem, batch.num_rows, new_work(classes, SIZE[kind], events=False), costs)
    del keep
    return costs[:, :classes]


def _of_labels(batch: Batch, spec: Spec, losses: Numbers, scored: NDArray[np.bool_]) -> Numbers:
    """The loss of every label as of an event by itself; labels that do not count cost 0."""
    assert isinstance(batch.predictions, Matrix)
    values, kind = batch.predictions.values, batch.predictions.kind
    terms = np.zeros(values.shape)
    for label in range(spec.num_classes):
        weight = None if spec.pos_weight is None else spec.pos_weight[label : label + 1]
        event = replace(
            spec, task="binary", num_classes=1, soft=False, pos_weight=weight, weighted=False, class_names=None,
            on_invalid="skip", label_reduction="mean",
        )  # fmt: skip
        column = Batch(
            Matrix(np.ascontiguousarray(values[:, label : label + 1]), kind),
            np.ascontiguousarray(batch.target[:, label]), status=_unscored(batch, label, scored),
        )  # fmt: skip
        of_label = np.empty(batch.num_rows)
        loss_only = Measures(spread=False, scores=False)
        Scorer(event, full=False).score(column, Totals(event, loss_only), no_outputs()._replace(loss=of_label))
        counts = column.status == 0
        if spec.ignore_index is not None:
            counts &= column.target != spec.ignore_index
        terms[counts, label] = of_label[counts]
    return terms


def _unscored(batch: Batch, label: int, scored: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The status of the elements of a label, of which those that the mask leaves out are not looked at."""
    there = scored if batch.mask is None else scored & batch.mask[:, label]
    return np.where(there, 0, Status.IGNORED).astype(np.uint8)
