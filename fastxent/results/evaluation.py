"""Evaluation: the statistics that totals say. Floating point appears here, once, rounded from exact integers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastxent.base.errors import UsageError
from fastxent.base.log_unit import Unit
from fastxent.base.status import Status
from fastxent.engine.invalid_rows import first_invalid, invalid_counts
from fastxent.kernels.sums import tally
from fastxent.results.readings.classes import ClassReadings
from fastxent.results.readings.groups import GroupReadings
from fastxent.results.readings.loss import LossReadings
from fastxent.results.readings.predictions import TOP_K, PredictionReadings, check_readings
from fastxent.results.readings.rows import RowReadings
from fastxent.statistics.calibration import BrierParts, Calibration
from fastxent.statistics.loss import QUANTILES, Z95, ClusterStats, LossStats, Quantile, mean_loss, sum_of_losses
from fastxent.statistics.options import Binning
from fastxent.statistics.ranking import Area
from fastxent.statistics.shares import wilson
from fastxent.statistics.temperature import TemperatureStats
from fastxent.statistics.units import UnitStats
from fastxent.totals.totals import Totals

if TYPE_CHECKING:
    from fastxent.sources.skipped import LeftOut

__all__ = [
    "QUANTILES", "TOP_K", "Z95", "Area", "BrierParts", "Calibration", "ClusterStats", "Evaluation",
    "LossStats", "Quantile", "TemperatureStats", "UnitStats", "check_readings", "mean_loss", "sum_of_losses", "wilson",
]  # fmt: skip


@dataclass
class Evaluation(LossReadings, PredictionReadings, ClassReadings, GroupReadings, RowReadings):
    """The result of an evaluation.

    Means and sums are those of the exact numbers, rounded once. Losses and entropies are in nats, or logarithms to
    ``base``: then what is rounded once is divided by log(base). Statistics that were not gathered are None here and
    absent from `to_dict`. Tables (``per_class``, ``groups``, ``worst``, ``calibration.table``) are
    `pyarrow.Table` objects: ``.to_pandas()``, or ``polars.from_arrow``.

    Attributes:
        totals: the integers that everything is read from.
        run: facts about the run: seconds, bytes, threads, paths.
        warnings: what a reader should know.
        bins: bins of the calibration; None for what the binning takes by default (15).
        binning: how confidence is cut into bins, see `calibrate`.
        top_ks: the k of top-k accuracies; None for the usual ones.
        base: unit of losses and entropies: None for nats, 2 for bits, 10 for bans. Totals do not know it.
        topk: whether rows stored some of the classes only.
    """

    totals: Totals
    run: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    bins: int | None = None
    binning: Binning = "equal_width"
    top_ks: Sequence[int] | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    base: float | None = None
    topk: bool = False

    def __post_init__(self) -> None:
        self.unit = Unit(self.base)
        tallies, rows = self.totals.tallies, f"{self.num_rows:,} rows"
        first = int(tallies.first[tally.UNEVEN])
        if self.uneven and not (self.totals.spec.normalize or self.topk):  # what is not stored is missing in the sum
            self.warnings.append(
                f"the probabilities of {self.uneven:,} of {rows} do not sum to 1 (first: row {first:,}); "
                "they are scored as they are, and normalize divides them by their sum"
            )
        if tallies.histogram.size and (infinite := int(tallies.histogram[-1])):
            self.warnings.append(
                f"the loss of {infinite:,} of {rows} is infinite: their target has no probability; clip bounds it"
            )
        groups: Any = self.totals.statistics.get("groups")
        if groups is not None and (notes := groups.notes()):
            self.warnings.append(f"so many groups share memory that of each of them {'; '.join(notes)}")
        if self.topk:
            unseen = int(tallies.confusion[-1].sum()) if self.confusion is not None else 0
            self.warnings.append(
                f"top-k predictions: the target of {unseen:,} of {rows} is not stored (they got an even share of the "
                "mass that is missing); Brier score, confusion and statistics by class mean nothing here"
            )

    def group(self, *values: Any, **named: Any) -> Evaluation:
        """The evaluation of the rows of one group: everything that there is of all rows, from the same pass.

        Its numbers are those of an evaluation of these rows alone, in the unit of this one. Only where so many groups
        share memory that cells were put together are its quantiles, bins and classes coarser (``totals.coarse``; what
        cannot be read then raises or is None). Rows that were not scored are counted among all rows only.

        Args:
            values: one for every column of ``group_by``, in their order; None for the group without a value.
            named: by column instead; a column that is left out may have any value.

        Raises:
            UsageError: nothing was grouped, or no row has these values.

        Examples:
            >>> import fastxent as fx
            >>> logits, country = [[2.0, 0.0], [0.0, 2.0]], ["DE", "FR"]
            >>> ev = fx.evaluate(logits=logits, target=[0, 0], group_by={"country": country})
            >>> ev.group("DE").accuracy, ev.group(country="FR").confusion.tolist()
            (1.0, [[0, 1], [0, 0]])
        """
        columns = self.totals.measures.group_by
        if not columns:
            raise UsageError("group: nothing was grouped; pass group_by=")
        if values and len(values) != len(columns):
            names = ", ".join(columns)
            raise UsageError(f"group: expected {len(columns)} values ({names}), got {len(values)}; or name the columns")
        wanted = dict(zip(columns, values, strict=False)) | named
        run = {"group": wanted} | {name: value for name, value in self.run.items() if name == "paths"}
        readings: dict[str, Any] = {name: getattr(self, name) for name in ("bins", "binning", "top_ks", "base", "topk")}
        return Evaluation(self.totals.of_group(wanted), run=run, **readings)

    @property
    def rows(self) -> dict[str, Any]:
        """Rows read, scored, ignored, invalid by cause, and uneven: scored, but their probabilities do not sum to 1."""
        counts = self.totals.tallies.rows
        return {
            "read": int(counts.sum()),
            "scored": self.num_rows,
            "ignored": int(counts[Status.IGNORED]),
            "invalid": {status.name.lower(): n for status, n in invalid_counts(self.totals).items()},
        } | ({"uneven": self.uneven} if self.uneven else {})

    @property
    def uneven(self) -> int:
        """Scored rows whose probabilities do not sum to 1, within the root of their type's machine epsilon."""
        return int(self.totals.tallies.uneven[0])

    @property
    def first_invalid(self) -> dict[str, int]:
        """The number (from 0, over the whole source) of the first row of every cause of invalidity."""
        return {status.name.lower(): row for status, row in first_invalid(self.totals).items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values under stable names; statistics that were not gathered are absent."""
        from fastxent.results.as_json import evaluation_dict

        return evaluation_dict(self)

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text; floats read back to the same bits, NaN and infinities as strings."""
        from fastxent.results.as_json import json_text

        return json_text(self.to_dict(), indent=indent)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A report as one HTML page that needs nothing else; written to ``path`` if one is given. Extra ``report``."""
        from fastxent.report.write import write_report

        histogram = self.totals.tallies.histogram
        return write_report(self.to_dict(), path, confusion=self.confusion, histogram=histogram, unit=self.unit)

    def __repr__(self) -> str:
        parts = [f"loss={self.loss:.6g}"]
        if self.accuracy is not None:
            parts.append(f"accuracy={self.accuracy:.6g}")
        return f"Evaluation({', '.join(parts)}, rows={self.num_rows:,})"

    def _repr_html_(self) -> str:
        """The summary as an HTML table, for notebooks."""
        from fastxent.results.headlines import html_table

        return html_table(self)
