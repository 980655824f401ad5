"""How far the totals of a group put cells together that those of all rows keep apart."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from fastxent.base.errors import UsageError

__all__ = ["FINE", "Coarse"]


@dataclass(frozen=True, slots=True)
class Coarse:
    """What can be read of totals whose cells were put together; as it stands, everything.

    Attributes:
        losses: 2^losses cells of the histogram of losses are one.
        widths: calibration cells are so many equal widths of [0, 1], all their rows in one.
        edge: a confidence of exactly 1 is told from those in the last width.
        ranks: ranks of the target from this one on are one.
        reciprocal: where they are, the sum of w / (1 + rank) over rows.
        classes: "pairs" of target and predicted class, "classes" (targets and predictions apart), "targets", or "none".
        scores: 2^scores cells of the histograms of scores are one.
        classwise: every class has so many cells of equal width; 0 for none at all.
        rows: where there are fewer single rows (worst, label errors) than asked for, so many of a kind at least.
    """

    losses: int = 0
    widths: int | None = None
    edge: bool = True
    ranks: int | None = None
    reciprocal: Fraction | None = None
    classes: Literal["pairs", "classes", "targets", "none"] = "pairs"
    scores: int = 0
    classwise: int | None = None
    rows: int | None = None

    def check_calibration(self, bins: int, binning: str) -> None:
        """Raise UsageError for bins that the cells cannot be put together to."""
        widths = self.widths
        if widths is None or binning == "equal_mass":
            return
        if widths % bins or binning == "sklearn" or (binning == "torchmetrics" and not self.edge):
            raise UsageError(
                f"so many groups share memory that each keeps {widths} equal widths of its calibration, "
                f"which do not make {bins} bins of binning {binning!r}; take a divisor of {widths} with 'equal_width', "
                "or evaluate the rows of the group alone with filter="
            )

    def check_classwise(self, bins: int) -> None:
        """Raise UsageError for bins of the classes that their cells cannot be put together to."""
        if self.classwise and self.classwise % bins:
            raise UsageError(
                f"so many groups share memory that each keeps {self.classwise} equal widths of every class, which do "
                f"not make {bins} bins; take a divisor, or evaluate the rows of the group alone with filter="
            )

    def check_histogram(self, per_octave: int) -> None:
        """Raise UsageError for bins of losses that are finer than the cells."""
        most = 128 >> self.losses
        if per_octave > most:
            few = f"at most {most} bins an octave" if most else f"one bin for {2**self.losses // 128} octaves"
            raise UsageError(
                f"so many groups share memory that each keeps {few} of its losses; "
                "evaluate the rows of the group alone with filter="
            )

    def check_rank(self, k: int) -> None:
        """Raise UsageError for a top-k accuracy that is not told."""
        if self.ranks is not None and k > self.ranks:
            raise UsageError(
                f"top_k: so many groups share memory that each tells the first {self.ranks} ranks apart, not {k}; "
                "evaluate the rows of the group alone with filter="
            )


FINE = Coarse()
