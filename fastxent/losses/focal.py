"""Focal loss: cross-entropy that counts confident rows less, by the factor (1 - p)^gamma."""

from __future__ import annotations

from fastxent.base.option import Option
from fastxent.losses import cross_entropy
from fastxent.losses.base import Kernel, KernelKey, Loss

__all__ = ["LOSS"]


class Focal(Loss):
    """(1 - p)^gamma times -log p."""

    name = "focal"
    doc = "(`fastxent.focal_loss`)"
    options = (
        Option(
            name="gamma",
            annotation="float",
            default=2.0,
            least=0.0,
            doc="exponent of the focal loss, at least 0; 0 gives the cross-entropy.",
            brief="Exponent of the focal loss.",
        ),
    )

    def rows(self, key: KernelKey, *, by_row: bool = False) -> Kernel:
        """See `Loss.rows`."""
        from fastxent.kernels.rows import focal

        plain = cross_entropy.LOSS.rows
        if key.task != "multiclass":
            return plain(key).then(focal.of_events(key.form, key.kind, key.target, key.task, key.masked), "focal")
        if key.shared:
            rows = focal.of_classes(key.form, key.kind, key.target, key.soft, key.full, key.few)
            return Kernel(rows, f"focal-{key.form}-{key.kind}-{key.target}-{key.soft}-{key.full}-{key.few}")
        if key.form == "log_probs" and not key.normalize:
            return plain(key, by_row=by_row).then(focal.focal, "focal")
        step = focal.of_labels(key.form, key.kind)
        return plain(key, by_row=True).then(step, f"focal-{key.form}-{key.kind}")


LOSS = Focal()
