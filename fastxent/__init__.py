"""fastxent: exact, reproducible and fast cross-entropy of predictions that already exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastxent.compared import Comparison
    from fastxent.comparison import compare
    from fastxent.conversion import convert
    from fastxent.divergences import entropy, focal_loss, kl_divergence
    from fastxent.errors import (
        DataError,
        FastxentError,
        InvalidRowError,
        OutputError,
        SourceError,
        StateError,
        UsageError,
    )
    from fastxent.evaluation import Evaluation
    from fastxent.inspection import inspect
    from fastxent.losses import binary_cross_entropy, cross_entropy
    from fastxent.rowwise import score
    from fastxent.scoring import evaluate
    from fastxent.spec import Spec
    from fastxent.totals import Totals
    from fastxent.writer import PredictionWriter

__all__ = [
    "Comparison",
    "DataError",
    "Evaluation",
    "FastxentError",
    "InvalidRowError",
    "OutputError",
    "PredictionWriter",
    "SourceError",
    "Spec",
    "StateError",
    "Totals",
    "UsageError",
    "__version__",
    "binary_cross_entropy",
    "compare",
    "convert",
    "cross_entropy",
    "entropy",
    "evaluate",
    "focal_loss",
    "inspect",
    "kl_divergence",
    "score",
]

# Public name -> the module that defines it. Loaded on first use, so that `fastxent --help` starts no compiler.
_HOME = {
    "Comparison": "compared",
    "DataError": "errors",
    "Evaluation": "evaluation",
    "FastxentError": "errors",
    "InvalidRowError": "errors",
    "OutputError": "errors",
    "PredictionWriter": "writer",
    "SourceError": "errors",
    "Spec": "spec",
    "StateError": "errors",
    "Totals": "totals",
    "UsageError": "errors",
    "binary_cross_entropy": "losses",
    "compare": "comparison",
    "convert": "conversion",
    "cross_entropy": "losses",
    "entropy": "divergences",
    "focal_loss": "divergences",
    "kl_divergence": "divergences",
    "evaluate": "scoring",
    "inspect": "inspection",
    "score": "rowwise",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("fastxent")  # kept: it takes 2 ms
    elif name in _HOME:
        from importlib import import_module

        value = getattr(import_module(f"fastxent.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module 'fastxent' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
