"""The headline numbers of an evaluation as lines of text, and the tables that follow them: what every report shows."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fastxent.base.text import printable

if TYPE_CHECKING:
    from fastxent.results.evaluation import Evaluation

__all__ = ["ROWS", "cell_text", "group_headlines", "headlines", "html_rows", "html_table", "shown_tables"]

#: Rows of a table that are shown.
ROWS = 20
#: What a group's statistics begin with, and which of them are shown where there is no room for all.
_FIRST_OF_GROUP = "count"
_OF_GROUP = (
    "count", "weight", "clusters", "loss", "stderr", "q50", "q95", "bits_per_unit", "entropy", "d2", "accuracy",
    "brier", "ece", "auc",
)  # fmt: skip


def group_headlines(names: list[str], shown: Sequence[str] = _OF_GROUP) -> list[str]:
    """Of the columns of a table of groups what it was grouped by, and those of ``shown`` that there are."""
    first = names.index(_FIRST_OF_GROUP) if _FIRST_OF_GROUP in names else 0
    return [*names[:first], *(name for name in shown if name in names[first:])]


def _interval(low: float, high: float) -> str:
    return f"{low:.2%} to {high:.2%}"


def _error(stderr: float) -> str:
    return "" if math.isnan(stderr) else f" ± {stderr:.2g}"


def headlines(result: Evaluation) -> Iterator[tuple[str, str]]:
    """Name and value of every headline number."""
    rows = result.rows
    others = [f"{rows['ignored']:,} ignored"] if rows["ignored"] else []
    if invalid := sum(rows["invalid"].values()):
        others.append(f"{invalid:,} invalid")
    yield "rows", f"{rows['scored']:,}" + (f"  ({', '.join(others)} of {rows['read']:,})" if others else "")
    yield from _loss_lines(result)
    yield from _prediction_lines(result)
    stats = result.loss_stats
    if stats is not None:
        shown = {0.05: "5 %", 0.25: "25 %", 0.5: "median", 0.75: "75 %", 0.95: "95 %", 0.99: "99 %"}
        yield "loss quantiles", ", ".join(f"{name} {stats.quantiles[q].value:.4g}" for q, name in shown.items())
        yield "loss range", f"{stats.min:.4g} to {stats.max:.4g}"
    if "seconds" in (run := result.run):
        seconds = run["seconds"] or math.inf
        rate = f"{run['rows_per_second']:,.0f} rows/s, {run['bytes'] / seconds / 1e9:.2f} GB/s"
        yield "time", f"{run['seconds']:.3f} s  ({rate}, {run['threads']} threads)"


def _loss_lines(result: Evaluation) -> Iterator[tuple[str, str]]:
    stats = result.loss_stats
    if stats is None or math.isnan(stats.stderr):
        yield "loss", f"{result.loss:.6g} {result.unit}"
    else:
        bits = f"  ({result.bits:.6g} bits)" if str(result.unit) != "bits" else ""
        yield "loss", f"{result.loss:.6g}{_error(stats.stderr)} {result.unit}{bits}"
    if stats is not None and (clusters := stats.clusters) is not None:
        what = (
            f"clusters of {printable(clusters.column)}"
            if clusters.exact
            else f"buckets of clusters of {printable(clusters.column)}"
        )
        yield "error from", f"{clusters.count:,} {what}"
    yield "perplexity", f"{result.perplexity:.6g}"
    if (units := result.units) is not None:
        yield (
            f"per {printable(units.column)}",
            f"{units.loss:.6g}{_error(units.stderr)} {result.unit}, "
            + (f"{units.bits:.6g} bits, " if str(result.unit) != "bits" else "")
            + f"perplexity {units.perplexity:.6g}  ({units.sum:,.15g} units)",
        )
    if (d2 := result.d2) is not None and not math.isnan(d2):
        yield "D2", f"{d2:.4f}  (normalized entropy {1.0 - d2:.4f})"
    if (entropy := result.entropy) is not None:
        largest = result.unit.of(math.log(max(2, result.totals.spec.num_classes)))
        yield (
            "entropy",
            f"{entropy:.6g} {result.unit}  ({entropy / largest:.2%} of the largest)",
        )
    if (temperature := result.temperature) is not None:
        yield "temperature", f"{temperature.best:.4g} would give {temperature.loss:.6g} ({-temperature.gain:+.3g})"


def _prediction_lines(result: Evaluation) -> Iterator[tuple[str, str]]:
    if result.accuracy is not None:
        top = [f"top-{k} {value:.4%}" for k, value in result.top_k.items() if k > 1]
        found = [f"95 %: {_interval(*result.top_k_interval())}", *top]
        yield "accuracy", f"{result.accuracy:.4%}  ({'; '.join(found)})"
        scaled = f"  ({result.brier_scaled:.6g} on [0, 1])" if result.totals.spec.task == "multiclass" else ""
        yield "Brier score", f"{result.brier:.6g}{scaled}"
    if (parts := result.brier_parts) is not None:
        yield (
            "Brier parts",
            f"reliability {parts.reliability:.4g} - resolution {parts.resolution:.4g} + uncertainty"
            f" {parts.uncertainty:.4g} + residual {parts.residual:.2g}",
        )
    if (calibration := result.calibration) is not None:
        bins = f"{len(calibration.rows)} bins" + (
            f", {calibration.binning}" if calibration.binning != "equal_width" else ""
        )
        yield "calibration", f"ECE {calibration.ece:.4g}, MCE {calibration.mce:.4g}  ({bins})"
    for name, area in (("ROC AUC", result.auc), ("avg. precision", result.average_precision)):
        if area is not None:
            slack = max(area.high - area.value, area.value - area.low)
            yield name, f"{area.value:.6f}" + (f"  (±{slack:.1g})" if slack else "")


def shown_tables(result: Evaluation) -> Iterator[tuple[str, Any, int]]:
    """Title, the first rows and the number of all rows of the tables that were asked for."""
    for name, margin in (result.margins or {}).items():
        yield f"by {name}", margin.select(group_headlines(margin.column_names)).slice(0, ROWS), margin.num_rows
    if (groups := result.groups) is not None:
        names = ", ".join(result.totals.measures.group_by)
        yield f"by {names}", groups.select(group_headlines(groups.column_names)).slice(0, ROWS), groups.num_rows
    if (worst := result.worst) is not None:
        yield "highest losses", worst.slice(0, ROWS), worst.num_rows
    if (worst := result.group_worst) is not None:
        names = ", ".join(result.totals.measures.group_by)
        yield f"highest losses by {names}", worst.slice(0, ROWS), worst.num_rows
    if (worst := result.worst_per_class) is not None:
        yield "highest losses of each class", worst.slice(0, ROWS), worst.num_rows
    for by, table in (result.label_errors or {}).items():
        yield f"perhaps labeled wrong, by {by.replace('_', ' ')}", table.slice(0, ROWS), table.num_rows


def cell_text(value: Any) -> str:
    """One value of a table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(value)


def html_table(result: Evaluation) -> str:
    """The headline numbers as HTML; everything is escaped."""
    left = "style='text-align:left'"
    rows = "".join(
        f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(value)}</td></tr>"
        for name, value in headlines(result)
    )
    parts = [f"<table>{rows}</table>"]
    parts += [html_rows(title, table, total) for title, table, total in shown_tables(result)]
    return "".join(parts)


def html_rows(title: str, table: Any, total: int) -> str:
    """A table as HTML with its title; everything is escaped."""
    head = "".join(f"<th>{html.escape(printable(name))}</th>" for name in table.column_names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell_text(value))}</td>" for value in row.values()) + "</tr>"
        for row in table.to_pylist()
    )
    more = f" (first {table.num_rows:,} of {total:,})" if total > table.num_rows else ""
    return f"<p>{html.escape(printable(title))}{more}</p><table><tr>{head}</tr>{body}</table>"
