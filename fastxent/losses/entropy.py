"""Entropy of the predictions, whatever the targets are."""

from __future__ import annotations

from fastxent.losses.base import Kernel, KernelKey, Loss

__all__ = ["LOSS"]


class Entropy(Loss):
    """The sum of -p log p over the classes."""

    name = "entropy"
    doc = "(of the predictions; the target is read and not used)"
    tasks = ("multiclass",)
    needs_target = False
    predicts_class = False
    takes_class_options = False
    checks_sum = False

    def kernel(self, key: KernelKey) -> Kernel:
        """The row kernel, which leaves the entropy of the predictions anyway."""
        return self.rows(key)

    def rows(self, key: KernelKey, *, by_row: bool = False) -> Kernel:
        """See `Loss.rows`."""
        from fastxent.kernels.rows import entropy

        start = Kernel(entropy.clear, "")
        entropies = start.then(entropy.entropy(key.form, key.kind), f"entropy-{key.form}-{key.kind}")
        return entropies.then(entropy.as_loss, "loss")


LOSS = Entropy()
