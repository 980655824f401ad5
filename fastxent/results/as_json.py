"""The dictionary and the JSON of a result: stable names, nothing that was not gathered, floats that keep their bits."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from fastxent.base import exact
from fastxent.data.spec import NUMERICS_VERSION
from fastxent.kernels.sums import tally
from fastxent.statistics.loss import LossStats

if TYPE_CHECKING:
    from fastxent.results.evaluation import Evaluation

__all__ = ["SCHEMA", "evaluation_dict", "json_text"]

SCHEMA = "fastxent.evaluation/1"
#: Classes up to which the confusion matrix is in the dictionary.
MATRIX = 100
#: Rows up to which what groups say class by class is, and their single rows.
PARTS_OF_GROUPS = 10_000
GROUP_TABLES = ("group_per_class", "group_classwise", "group_worst", "group_worst_per_class")


def evaluation_dict(result: Evaluation) -> dict[str, Any]:
    """See `fastxent.results.evaluation.Evaluation.to_dict`."""
    spec, stats = result.totals.spec, result.loss_stats
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "spec": {"num_classes": spec.num_classes, "task": spec.task} | spec.to_dict(),
        "rows": result.rows,
        "loss_unit": str(result.unit),
        "loss": {"mean": result.loss} if stats is None else _loss_dict(stats, result.bits),
    }
    settings = result.totals.measures.to_dict()
    settings |= dict.fromkeys(settings.pop("statistics", ()), True)
    if settings:
        values["settings"] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
        }
    if stats is not None:
        values["loss_histogram"] = result.loss_histogram().to_pylist()
    if spec.reads_weight:
        values["weight_sum"] = exact.rounded_sum(result.totals.tallies.sums[tally.WEIGHT])
    values["perplexity"] = result.perplexity
    names: tuple[str, ...] = ("units", "normalized_entropy", "d2", "entropy")
    values |= {name: _plain(value) for name in names if (value := getattr(result, name)) is not None}
    if result.accuracy is not None:
        top = result.top_k or {1: result.accuracy}
        values["accuracy"] = {f"top{k}": value for k, value in top.items()}
        values["accuracy"] |= {"ci95": {f"top{k}": list(result.top_k_interval(k)) for k in top}}
    names = ("mrr", "brier", "brier_scaled", "brier_parts", "classwise_ece", "auc", "average_precision")
    values |= {name: _plain(value) for name in names if (value := getattr(result, name)) is not None}
    if (calibration := result.calibration) is not None:
        errors = {name: getattr(calibration, name) for name in ("binning", "ece", "mce", "rmsce", "ace")}
        values["calibration"] = errors | {"bins": [list(row) for row in calibration.bins]}
    if (counts := result.confusion) is not None and len(counts) <= MATRIX:
        values["confusion"] = counts.tolist()
        if (sums := result.weighted_confusion) is not None:
            values["weighted_confusion"] = sums.tolist()
    tables = ("per_class", "classwise", "confused", "groups", "worst", "worst_per_class", "ranking")
    values |= {name: table.to_pylist() for name in tables if (table := getattr(result, name)) is not None}
    values |= {name: table.to_pylist() for name in GROUP_TABLES if _is_small(table := getattr(result, name))}
    likely = {by: table.to_pylist() for by, table in (result.group_label_errors or {}).items() if _is_small(table)}
    values |= {"group_label_errors": likely} if likely else {}
    if result.margins is not None:
        values["margins"] = [row for table in result.margins.values() for row in table.to_pylist()]
    if spec.task == "binary" and (table := result.thresholds()) is not None:
        values["thresholds"] = table.to_pylist()
    if (found := result.label_errors) is not None:
        values["label_errors"] = {by: table.to_pylist() for by, table in found.items()}
    if (temperature := result.temperature) is not None:
        values["temperature"] = {name: getattr(temperature, name) for name in ("best", "loss", "gain")}
        values["temperature"]["table"] = temperature.table.to_pylist()
    if result.first_invalid:
        values["first_invalid"] = result.first_invalid
    if result.left_out:
        values["left_out"] = [left.to_dict() for left in result.left_out]
    return values | {"warnings": result.warnings, "run": {**result.run, "numerics_version": NUMERICS_VERSION}}


def _is_small(table: Any) -> bool:
    return table is not None and table.num_rows <= PARTS_OF_GROUPS


def json_text(values: Any, *, indent: int | None = None) -> str:
    """JSON values as text; floats read back to the same bits, NaN and infinities as strings."""
    return json.dumps(_finite(values), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A record of numbers as a dict; anything else as it is."""
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is None:
        return value
    found = ((name, getattr(value, name)) for name in fields)
    return {name: list(item) if isinstance(item, tuple) else item for name, item in found}


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become the strings "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def _loss_dict(stats: LossStats, bits: float) -> dict[str, Any]:
    values = {
        name: getattr(stats, name) for name in ("mean", "sum", "variance", "std", "stderr", "min", "max", "infinite")
    }
    values |= {"bits": bits, "ci95": list(stats.ci95)}
    values["quantiles"] = {f"{q:g}": quantile.value for q, quantile in stats.quantiles.items()}
    values["quantile_bounds"] = {f"{q:g}": [quantile.low, quantile.high] for q, quantile in stats.quantiles.items()}
    return values | ({} if stats.clusters is None else {"clusters": _plain(stats.clusters)})
