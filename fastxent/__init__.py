"""fastxent: exact, reproducible and fast cross-entropy of predictions that already exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastxent.api.compare import compare
    from fastxent.api.compare_all import compare_all
    from fastxent.api.divergences import entropy, kl_divergence
    from fastxent.api.evaluate import evaluate
    from fastxent.api.evaluator import Evaluator
    from fastxent.api.losses import binary_cross_entropy, cross_entropy, focal_loss, poly1_loss
    from fastxent.api.merge import merge
    from fastxent.api.score import score
    from fastxent.base.errors import (
        DataError,
        DoubtWarning,
        FastxentError,
        InvalidRowError,
        OutOfMemoryError,
        OutputError,
        SourceError,
        StateError,
        UnavailableError,
        UsageError,
    )
    from fastxent.comparison.result import Comparison
    from fastxent.data.spec import Spec
    from fastxent.results.evaluation import Evaluation
    from fastxent.storage.convert import convert
    from fastxent.storage.inspect import inspect
    from fastxent.storage.prediction_writer import PredictionWriter
    from fastxent.totals.totals import Totals

__all__ = [
    "Comparison",
    "DataError",
    "DoubtWarning",
    "Evaluation",
    "Evaluator",
    "FastxentError",
    "InvalidRowError",
    "OutOfMemoryError",
    "OutputError",
    "PredictionWriter",
    "SourceError",
    "Spec",
    "StateError",
    "Totals",
    "UnavailableError",
    "UsageError",
    "__version__",
    "binary_cross_entropy",
    "compare",
    "compare_all",
    "convert",
    "cross_entropy",
    "entropy",
    "evaluate",
    "focal_loss",
    "inspect",
    "kl_divergence",
    "merge",
    "poly1_loss",
    "score",
]

# Public name -> the module that defines it. Loaded on first use, so that `fastxent --help` starts no compiler.
_HOME = {
    "Comparison": "comparison.result",
    "DataError": "base.errors",
    "DoubtWarning": "base.errors",
    "Evaluation": "results.evaluation",
    "Evaluator": "api.evaluator",
    "FastxentError": "base.errors",
    "InvalidRowError": "base.errors",
    "OutOfMemoryError": "base.errors",
    "OutputError": "base.errors",
    "PredictionWriter": "storage.prediction_writer",
    "SourceError": "base.errors",
    "Spec": "data.spec",
    "StateError": "base.errors",
    "Totals": "totals.totals",
    "UnavailableError": "base.errors",
    "UsageError": "base.errors",
    "binary_cross_entropy": "api.losses",
    "compare": "api.compare",
    "compare_all": "api.compare_all",
    "convert": "storage.convert",
    "cross_entropy": "api.losses",
    "entropy": "api.divergences",
    "focal_loss": "api.losses",
    "kl_divergence": "api.divergences",
    "poly1_loss": "api.losses",
    "evaluate": "api.evaluate",
    "inspect": "storage.inspect",
    "merge": "api.merge",
    "score": "api.score",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from fastxent.base.version import package_version

        value: Any = package_version()
    elif name in _HOME:
        from importlib import import_module

        value = getattr(import_module(f"fastxent.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module 'fastxent' has no attribute {name!r}{_close(name)}")
    globals()[name] = value
    return value


def _close(name: str) -> str:
    """What may have been meant by a name that there is not."""
    from difflib import get_close_matches

    if name in ("log_loss", "brier_score_loss", "top_k_accuracy_score", "d2_log_loss_score"):
        return f"; there is fastxent.sklearn.{name}"
    close = get_close_matches(name, _HOME, 2)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def __dir__() -> list[str]:
    return sorted(__all__)
