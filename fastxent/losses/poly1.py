"""Poly-1 cross-entropy (PolyLoss): cross-entropy with another weight of its first term in 1 - p."""

from __future__ import annotations

from fastxent.base.option import Option
from fastxent.losses import cross_entropy
from fastxent.losses.base import Kernel, KernelKey, Loss

__all__ = ["LOSS"]


class Poly1(Loss):
    """-log p + epsilon (1 - p), of Leng et al. (2022)."""

    name = "poly1"
    doc = "(`fastxent.poly1_loss`)"
    options = (
        Option(
            name="epsilon",
            annotation="float",
            default=1.0,
            least=-1.0,
            doc="weight that the Poly-1 loss adds to 1 - p, at least -1; 0 gives the cross-entropy.",
            brief="Weight of 1 - p in the Poly-1 loss.",
        ),
    )
    tasks = ("multiclass",)

    def rows(self, key: KernelKey, *, by_row: bool = False) -> Kernel:
        """See `Loss.rows`."""
        from fastxent.kernels.rows import poly1

        if key.shared:
            rows = poly1.of_classes(key.form, key.kind, key.target, key.soft, key.full, key.few)
            return Kernel(rows, f"poly1-{key.form}-{key.kind}-{key.target}-{key.soft}-{key.full}-{key.few}")
        return cross_entropy.LOSS.rows(key, by_row=by_row).then(poly1.poly1, "poly1")


LOSS = Poly1()
