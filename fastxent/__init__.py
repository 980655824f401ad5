"""fastxent: exact, reproducible and fast cross-entropy of predictions that already exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastxent.comparison import Comparison, compare
    from fastxent.errors import DataError, FastxentError, InvalidRowError, SourceError, StateError, UsageError
    from fastxent.scoring import evaluate
    from fastxent.evaluation import Evaluation
    from fastxent.losses import binary_cross_entropy, cross_entropy
    from fastxent.spec import Spec
    from fastxent.totals import Totals

__all__ = [
    "Comparison",
    "DataError",
    "Evaluation",
    "FastxentError",
    "InvalidRowError",
    "SourceError",
    "Spec",
    "StateError",
    "Totals",
    "UsageError",
    "__version__",
    "binary_cross_entropy",
    "compare",
    "cross_entropy",
    "evaluate",
]

# Public name -> the module that defines it. Loaded on first use, so that `fastxent --help` starts no compiler.
_HOME = {
    "Comparison": "comparison",
    "DataError": "errors",
    "Evaluation": "evaluation",
    "FastxentError": "errors",
    "InvalidRowError": "errors",
    "SourceError": "errors",
    "Spec": "spec",
    "StateError": "errors",
    "Totals": "totals",
    "UsageError": "errors",
    "binary_cross_entropy": "losses",
    "compare": "comparison",
    "cross_entropy": "losses",
    "evaluate": "scoring",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fastxent")
    if name in _HOME:
        from importlib import import_module

        value = getattr(import_module(f"fastxent.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fastxent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
