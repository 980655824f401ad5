"""Kullback-Leibler divergence of the predictions from the targets, which are distributions in the same form."""

from __future__ import annotations

from fastxent.losses.base import Kernel, KernelKey, Loss

__all__ = ["LOSS"]


class KLDivergence(Loss):
    """The sum of t log(t / p) over the classes."""

    name = "kl_divergence"
    doc = "(of the predictions from the targets, which are in their form: logits beside ``logits``, ...)"
    tasks = ("multiclass",)
    needs_distribution = True
    target_in_form = True
    predicts_class = False
    takes_class_options = False
    checks_sum = False

    def rows(self, key: KernelKey, *, by_row: bool = False) -> Kernel:
        """See `Loss.rows`."""
        from fastxent.kernels.rows.kl_divergence import kl

        return Kernel(kl(key.form, key.kind, key.target), f"kl-{key.form}-{key.kind}-{key.target}")


LOSS = KLDivergence()
