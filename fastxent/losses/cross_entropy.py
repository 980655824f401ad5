"""Cross-entropy: -log p of the target, of every task."""

from __future__ import annotations

from fastxent.losses.base import Kernel, KernelKey, Loss

__all__ = ["LOSS"]


class CrossEntropy(Loss):
    """-log p of the target, and its mean over classes that have shares of it."""

    name = "cross_entropy"
    is_log_loss = True

    def rows(self, key: KernelKey, *, by_row: bool = False) -> Kernel:
        """See `Loss.rows`."""
        if key.task != "multiclass":
            return _events(key)
        if key.shared:
            return _shares(key)
        if key.form != "logits":
            from fastxent.kernels.rows.probs import hard

            rows = hard(key.form, key.kind, key.target, key.full)
            return Kernel(rows, f"simplex-{key.form}-{key.kind}-{key.target}-{key.full}")
        return _labels(key, by_row)


def _labels(key: KernelKey, by_row: bool) -> Kernel:
    """Logits and class indices."""
    from fastxent.kernels.rows.softmax_across import across
    from fastxent.kernels.rows.softmax_along import along

    name = f"{key.kind}-{key.target}-{key.full}"
    if not key.few:
        return Kernel(along(key.kind, key.target, key.full), f"along-{name}")
    # The one kernel that takes columns as they are.
    columns = key.columns and not by_row
    return Kernel(across(key.kind, key.target, key.full, columns), f"across-{name}-{columns}", columns)


def _shares(key: KernelKey) -> Kernel:
    """Distributions, or labels that are smoothed."""
    from fastxent.kernels.rows import soft_targets

    make, name = (soft_targets.soft, "soft") if key.soft else (soft_targets.smoothed, "smoothed")
    rows = make(key.form, key.kind, key.target, key.full, key.few)
    return Kernel(rows, f"{name}-{key.form}-{key.kind}-{key.target}-{key.full}-{key.few}")


def _events(key: KernelKey) -> Kernel:
    """One yes-or-no score a row, or several."""
    name = f"{key.task}-{key.form}-{key.kind}-{key.target}-{key.full}"
    if key.task == "binary":
        from fastxent.kernels.rows.binary import binary

        return Kernel(binary(key.form, key.kind, key.target, key.full), name)
    from fastxent.kernels.rows.multilabel import multilabel

    return Kernel(multilabel(key.form, key.kind, key.target, key.full, key.masked), f"{name}-{key.masked}")


LOSS = CrossEntropy()
