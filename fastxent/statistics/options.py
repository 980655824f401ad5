"""Which statistics are gathered, and how they are read: the definition of these keywords."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from fastxent.base.errors import UsageError
from fastxent.base.option import option

__all__ = ["MOST_ROWS", "STATISTICS", "Binning", "Bins", "Measures", "Readings", "requested"]

#: Rows that `Measures.worst` and its kin may keep.
MOST_ROWS = 100_000
#: Statistics that are gathered on request, by the names that ``statistics=`` takes.
STATISTICS = ("classwise", "entropy", "ranking", "temperature")

#: Edges in rising order between bins, or how many bins of about as many rows each there are to be.
Bins = tuple[float, ...] | int
Binning = Literal["equal_width", "equal_mass", "torchmetrics", "sklearn", "netcal"]


@dataclass(frozen=True, slots=True)
class Measures:
    """Which statistics are gathered. The loss's own mean always is.

    Attributes:
        spread: variance, quantiles and extremes of the losses.
        scores: what needs more than the loss of a row: accuracy, Brier, calibration, classes.
        group_by: columns by whose values (several: crossed) statistics are gathered too.
        cluster_by: column with the clusters that standard errors respect.
        units: column with the number of units (bytes, words) of a row.
        worst: so many rows of the highest loss are kept, like the rows below of every group too.
        worst_per_class: so many rows of the highest loss of each true class are kept.
        keep: columns that are kept with those rows.
        edges: columns of ``group_by`` whose numbers are cut into bins, with the edges between these.
        label_errors: so many rows that are likeliest to be labeled wrong are kept.
        statistics: names of those that are gathered on request only.
    """

    spread: bool = True
    scores: bool = True
    group_by: tuple[str, ...] = option(
        (),
        "column, or several that are crossed, by whose values statistics are gathered as well (``ev.groups``, and "
        "``ev.margins`` of each column; up to 100,000 groups). With arrays: an array, or a dict of arrays by name. "
        'Numbers by edges: ``"age:0,18,65"``, or of columns ``{"age": [0, 18, 65]}``; by quantiles: ``"length:q10"``, '
        "for which the column is read once more beforehand.",
        annotation="Any",
        reads="columns",
        brief="Statistics by the values of a column, or of several; by edges: age:0,18,65; by quantiles: length:q10.",
    )
    cluster_by: str | None = option(
        None,
        "column of ids of rows that belong together (documents, users): the standard error respects them.",
        annotation="Any",
        reads="column",
        brief="Ids of rows that belong together.",
    )
    units: str | None = option(
        None,
        "column with the number of units (bytes, words) of a row, for the loss per unit (``ev.units``).",
        annotation="Any",
        reads="column",
        brief="Units (bytes, words) of a row, for the loss per unit.",
    )
    worst: int = option(
        0,
        "so many rows of the highest loss are kept, of every group too (``ev.worst``, ``ev.group_worst``).",
        least=0,
        metavar="K",
        brief="Keep the K rows of worst loss.",
    )
    worst_per_class: int = option(
        0,
        "so many rows of the highest loss of each true class are kept (``ev.worst_per_class``).",
        least=0,
        metavar="K",
        brief="Keep the K rows of worst loss of each class.",
    )
    keep: tuple[str, ...] = option(
        (),
        "columns whose values are kept with those rows.",
        annotation="Any",
        reads="columns",
        brief="Columns that are kept with the worst rows.",
    )
    label_errors: int = option(
        0,
        "so many rows that are likeliest to be labeled wrong are kept (``ev.label_errors``).",
        least=0,
        metavar="K",
        brief="Keep the K rows that are likeliest to be labeled wrong.",
    )
    statistics: tuple[str, ...] = option(
        (),
        '"entropy" (of the predictions; multiclass), "ranking" (ROC AUC, average precision, curves and thresholds of '
        "labels, and of classes each against the rest; of binary tasks finer than those that there are anyway), "
        '"temperature" (the loss of the logits divided by a grid of temperatures), "classwise" '
        "(calibration of every class, and the parts of the multiclass Brier score).",
        annotation="str | Iterable[str]",
        reads="columns",
        metavar="NAMES",
        brief=f"More statistics: {', '.join(STATISTICS)}.",
    )

    edges: tuple[tuple[str, Bins], ...] = ()

    def __post_init__(self) -> None:
        cut = ((name, bins if isinstance(bins, int) else tuple(bins)) for name, bins in self.edges)
        object.__setattr__(self, "edges", tuple(cut))
        for name in ("worst", "worst_per_class", "label_errors"):
            if not 0 <= getattr(self, name) <= MOST_ROWS:
                raise UsageError(f"{name}: expected a number of rows up to {MOST_ROWS:,}, got {getattr(self, name)}")
        if any(not isinstance(name, str) for name in self.columns):
            raise UsageError(f"columns are named by text, got {', '.join(map(repr, self.columns))}")
        if len(set(self.group_by)) != len(self.group_by):
            raise UsageError(f"group_by names a column twice: {', '.join(self.group_by)}")
        if self.keep and not self._keeps_rows:
            raise UsageError(
                "keep says which columns are kept with the worst rows; pass worst=, worst_per_class= or label_errors="
            )

    @property
    def full(self) -> bool:
        """Whether the row kernel must give more than the loss."""
        return bool(self.scores or self.group_by or self._keeps_rows or self.ranking or self.classwise)

    @property
    def ranking(self) -> bool:
        """Whether histograms of the scores are gathered, for ROC AUC, average precision and curves."""
        return "ranking" in self.statistics

    @property
    def temperature(self) -> bool:
        """Whether losses of the logits divided by a grid of temperatures are gathered."""
        return "temperature" in self.statistics

    @property
    def entropy(self) -> bool:
        """Whether the mean entropy of the predictions is gathered (multiclass)."""
        return "entropy" in self.statistics

    @property
    def classwise(self) -> bool:
        """Whether calibration and Brier score of every class against the rest are gathered (multiclass)."""
        return "classwise" in self.statistics

    @property
    def _keeps_rows(self) -> bool:
        return bool(self.worst or self.worst_per_class or self.label_errors)

    @property
    def of_group(self) -> Measures:
        """What is known of each group."""
        return replace(self, group_by=(), edges=())

    def to_dict(self) -> dict[str, Any]:
        """Those that are not at their default."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must ride along with the batches."""
        single = [name for name in (self.cluster_by, self.units) if name is not None]
        return tuple(dict.fromkeys([*self.group_by, *single, *self.keep]))


def requested(names: str | Iterable[str]) -> tuple[str, ...]:
    """The statistics that ``statistics=`` names, in alphabetical order; raises UsageError for one that is unknown."""
    given = (names,) if isinstance(names, str) else tuple(names)
    for name in given:
        if name not in STATISTICS:
            raise UsageError(f"statistics: expected {', '.join(map(repr, STATISTICS))}, got {name!r}")
    return tuple(sorted(set(given)))


@dataclass(frozen=True, slots=True)
class Readings:
    """How statistics are read off the totals, which do not know it."""

    top_k: Iterable[int] | None = option(
        None,
        "the k of top-k accuracies; by default 1, 3, 5 and 10 below the number of classes.",
        reads="integers",
        metavar="K,K,...",
        brief="Which top-k accuracies.",
    )
    bins: int | None = option(
        None,
        "bins of the calibration; by default 15, or what the library that ``binning`` names takes.",
        least=1,
        brief="Bins of the calibration; 15 by default.",
    )
    binning: Binning = option(
        "equal_width",
        "how confidence is cut into bins; see `Evaluation.calibrate`.",
        choices=get_args(Binning),
        brief="How confidence is cut into bins.",
    )
    base: float | None = option(
        None,
        "unit of the losses and entropies of the result: None for nats, 2 for bits, 10 for bans. Perplexities are the "
        "same in each, and what is called bits is bits.",
        reads="base",
        brief="Unit of losses and entropies: e for nats (the default), 2 for bits, 10 for bans.",
    )

    def __post_init__(self) -> None:
        if self.top_k is not None:
            object.__setattr__(self, "top_k", tuple(self.top_k))
