"""Whether numbers answer the question that was meant: what rows look like beside what they are said to be.

A doubt is a sentence for a person. Nothing is guessed: the numbers are those of what was said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fastxent.data.spec import Spec
from fastxent.kernels.sums import tally
from fastxent.losses.base import READY
from fastxent.sources.score_names import form_of
from fastxent.sources.source import Source
from fastxent.statistics import classes, spread
from fastxent.statistics.reading import Reading
from fastxent.totals.totals import Totals

__all__ = ["SURE", "doubts_of_rows", "doubts_of_source", "is_reversible"]

#: Rows, or numbers, from which on a share of them says something.
SURE = 100
#: Standard errors that set two numbers apart.
ERRORS = 5.0


def doubts_of_source(source: Source, totals: Totals, reading: Reading) -> Iterator[str]:
    """What the names of columns make doubtful."""
    form, said = totals.spec.form, form_of(source.score_names)
    if form in READY:
        return
    if said is not None and said != form and (form, said) != ("logits", "log_probs"):  # whose softmax they are
        yield f"{source.score_names[0]!r} is named like {said}, and scored as {form}; if it holds {said}, say {said}="
    if source.counts_from_one and (confusion := _confusion(reading)) is not None and confusion[0].sum() == 0:
        yield (
            f"no row has label 0, which is column {source.score_names[0]!r}; if labels count from 1 as the columns do, "
            f"say so by labels= (1 to {len(confusion)})"
        )


def doubts_of_rows(totals: Totals, reading: Reading, *, topk: bool = False) -> Iterator[str]:
    """What the rows make doubtful."""
    spec, tallies = totals.spec, totals.tallies
    rows = int(tallies.rows[0])
    if uneven := int(tallies.uneven[0]) * (not (spec.normalize or topk)):  # what is not stored is missing in the sum
        yield (
            f"the probabilities of {uneven:,} of {rows:,} rows do not sum to 1 (first: row "
            f"{int(tallies.first[tally.UNEVEN]):,}); they are scored as they are, and normalize divides them by their "
            "sum"
        )
    if rows and spec.task == "multiclass" and spec.num_classes == 1 and spec.form == "logits":
        yield "there is one class, so its probability is 1 and every loss is 0; one score a row is a binary task"
    enough = rows > 0 if spec.task == "multiclass" else rows * spec.num_classes >= SURE
    if totals.like_probs and enough and spec.num_classes > (spec.task == "multiclass"):
        what = "is in [0, 1] and sums to 1" if spec.task == "multiclass" else "is in [0, 1]"
        yield f"every row of logits {what}, as probabilities do; if that is what they are, say probs="
    if rows >= SURE and not topk and (found := _reversed(totals, reading)):
        loss, base, swapped = found
        yield (
            f"the mean loss of {rows:,} rows ({loss:.4g} nats) is above that of always predicting the classes' shares "
            f"({base:.4g}), and with the classes swapped it would be below ({swapped:.4g}): they seem to be reversed"
        )


def is_reversible(spec: Spec) -> bool:
    """Whether there are two classes, and a row's loss is -log p of one of them."""
    plain = spec.definition.is_log_loss and not (spec.soft or spec.label_smoothing)
    weighed = spec.class_weight is not None or spec.pos_weight is not None
    two = spec.task == "binary" or (spec.task == "multiclass" and spec.num_classes == 2)
    return two and plain and not weighed


def _confusion(reading: Reading) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    return classes.confusion_matrix(reading)


def _reversed(totals: Totals, reading: Reading) -> tuple[float, float, float] | None:
    """The mean loss, that of the classes' shares and that of the other order, if the classes seem to be reversed.

    Every row counts once. A row of loss L has -log(1 - e^-L) in the other order; losses are those of the histogram's
    cells, each at the end that speaks against it.
    """
    if not (is_reversible(totals.spec) and totals.hard_targets and "variance" in reading):
        return None
    confusion = _confusion(reading)
    if confusion is None:
        return None
    counts = spread.cells_of_histogram(reading)
    used = np.flatnonzero(counts)
    low, counts = spread.cell_edges(used)[0], counts[used]
    with np.errstate(divide="ignore"):
        swapped = -np.log(-np.expm1(-low))
    of_classes = confusion.sum(axis=1)
    shares = of_classes[of_classes > 0] / counts.sum()
    base = float(-(shares * np.log(shares)).sum())
    (loss, error), (other, other_error) = _mean(low, counts), _mean(swapped, counts)
    above = loss == math.inf or loss - ERRORS * error > base
    return (loss, base, other) if above and other + ERRORS * other_error < base else None


def _mean(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The mean of values that occur so often, and its standard error; infinite if a value is."""
    n = counts.sum()
    if np.isinf(values).any():
        return math.inf, math.inf
    mean = float((values * counts).sum() / n)
    return mean, math.sqrt(float((counts * (values - mean) ** 2).sum()) / (n - 1) / n)
