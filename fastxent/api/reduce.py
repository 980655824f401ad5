"""How the array functions go: from arrays to the losses of single rows, or to their exact sum or mean."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fastxent.api.axes import in_shape, rows_of_axis
from fastxent.api.doubt import warn
from fastxent.api.job import one_form, spec_of, stored_labels
from fastxent.api.terms import terms_of
from fastxent.base.errors import UsageError
from fastxent.base.log_unit import Unit
from fastxent.base.status import Status
from fastxent.data.batch import Batch
from fastxent.data.options import LossOptions
from fastxent.data.spec import Spec
from fastxent.engine.plan import plan_of
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.threads import RowResults
from fastxent.kernels.block_loop import Outputs, no_outputs
from fastxent.losses.registry import LOSSES
from fastxent.results.doubts import SURE, doubts_of_rows, doubts_of_source, is_reversible
from fastxent.sources.arrays.source import as_array, plain_array
from fastxent.sources.open import open_arrays
from fastxent.sources.options import Inputs
from fastxent.sources.source import ONE_SCORE, Source
from fastxent.statistics.options import Measures
from fastxent.totals.totals import Totals

__all__ = ["LOSS_ONLY", "Reduction", "reduced"]

Reduction = Literal["mean", "sum", "none", "elementwise"]

#: The loss and nothing else.
LOSS_ONLY = Measures(spread=False, scores=False)


def reduced(inputs: Inputs, loss: LossOptions, reduction: str, base: float | None, threads: int | None) -> Any:
    """The losses of rows of arrays, or their exact sum or mean, in logarithms to ``base``."""
    if reduction not in get_args(Reduction):
        raise UsageError(f"reduction: expected 'mean', 'sum', 'none' or 'elementwise', got {reduction!r}")
    unit = Unit(base)
    axis = inputs.axis
    rest: tuple[int, ...] = ()
    if axis is not None:
        inputs, _, rest = rows_of_axis(inputs, ())
    source, spec = _opened(inputs, loss)
    if reduction in ("none", "elementwise"):
        losses, totals = _row_losses(source, spec, threads, terms=reduction == "elementwise")
        _warn(source, totals, threads)
        if inputs.weight is not None:
            losses = _weighed(losses, np.asarray(plain_array(inputs.weight, "weight"), np.float64))
        return unit.of(losses if axis is None else in_shape(losses, rest, axis))
    totals = on_threads.run(plan_of(source, spec, LOSS_ONLY), threads).totals
    _warn(source, totals, threads)
    return unit.of(totals.reading().number("sum" if reduction == "sum" else "loss"))


def _opened(inputs: Inputs, loss: LossOptions) -> tuple[Source, Spec]:
    """The source over the arrays, and the spec."""
    form, predictions = one_form(**inputs.forms)
    definition = LOSSES[loss.loss]
    target = inputs.target
    if not definition.needs_target:
        target = np.broadcast_to(np.uint8(0), len(as_array(predictions, form)[0]))
    names = None if inputs.class_names is None else tuple(inputs.class_names)
    try:
        source = open_arrays(
            predictions, target, weight=inputs.weight, mask=inputs.mask, task=inputs.task, class_names=names,
            dtype=inputs.dtype, labels=stored_labels(inputs, loss),
        )  # fmt: skip
    except UsageError as error:  # these functions have no task
        ours = "one score a row is what fastxent.binary_cross_entropy takes"
        raise UsageError(str(error).replace(ONE_SCORE, ours)) from error
    if definition.target_in_form:
        _check_distributions(inputs, loss.loss, dense=source.dense_target)
    return source, spec_of(replace(inputs, target=target), loss, form, source)


def _check_distributions(inputs: Inputs, loss: str, *, dense: bool) -> None:
    """Raises UsageError if targets are no distributions, or 16-bit patterns that may be integers."""
    if not dense:
        raise UsageError(f"target: {loss} needs a distribution a row, of the predictions' shape")
    held, patterns = as_array(inputs.target, "target")
    if inputs.dtype in ("float16", "bfloat16") and patterns is None and held.dtype.name == "uint16":
        raise UsageError(
            "target: bit patterns cannot be told from integers; view them as float16 or ml_dtypes.bfloat16"
        )


def _warn(source: Source, totals: Totals, threads: int | None) -> None:
    """Warn of what the rows make doubtful.

    Classes can only be reversed where the mean loss is above log 2: -log p - log(1 - p) is at least twice that, and the
    other order would be below what shares of two classes say, which is at most that.
    """
    reading = totals.reading()
    if is_reversible(totals.spec) and reading.counts[0] >= SURE and reading.number("loss") > math.log(2.0):
        totals = on_threads.run(plan_of(source, totals.spec, Measures()), threads).totals
        reading = totals.reading()
    warn([*doubts_of_source(source, totals, reading), *doubts_of_rows(totals, reading)])


def _row_losses(source: Source, spec: Spec, threads: int | None, *, terms: bool) -> tuple[NDArray[np.float64], Totals]:
    """The loss of every row, or its ``terms``."""
    rows = _Losses(source.num_rows, valid=spec.on_invalid == "raise" and not terms)
    totals = on_threads.run(plan_of(source, spec, LOSS_ONLY), threads, rows=rows).totals
    if terms:
        return terms_of(source, spec, rows.loss, rows.status), totals
    if not rows.valid:
        rows.loss[rows.status > Status.IGNORED] = np.nan
    return rows.loss, totals


class _Losses(RowResults):
    """The loss of every row; its status too, unless all are ``valid``."""

    def __init__(self, count: int, *, valid: bool) -> None:
        self.valid = valid
        self.loss = np.empty(count)
        self.status = np.empty(0 if valid else count, np.uint8)

    def outputs_of(self, batch: Batch) -> Outputs:
        """Where the rows of the batch are in the result."""
        rows = slice(batch.first_id, batch.first_id + batch.num_rows)
        return no_outputs()._replace(loss=self.loss[rows], status=self.status if self.valid else self.status[rows])


def _weighed(losses: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses times weights; a weight of 0 silences an infinite loss, and an ignored row's weight is not looked at."""
    weight = weight.reshape(-1, *[1] * (losses.ndim - 1))
    with np.errstate(invalid="ignore"):
        products = losses * weight
    products[(losses == 0.0) | ((weight == 0.0) & ~np.isnan(losses))] = 0.0
    return products
