"""The pictures of an evaluation, by the names of `Evaluation.plot`; None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastxent.base.runs import run_starts
from fastxent.base.text import group_name
from fastxent.report.parts import as_number, as_percent, interval
from fastxent.report.picture import Axis, Box, Curve, Picture, Point, Rule, names_axis, shortened
from fastxent.results.evaluation import Evaluation
from fastxent.statistics.intervals import wilson

__all__ = ["LINES", "PICTURES", "forest", "limits"]

#: Lines of a picture that has one for each class, or group.
LINES = 30
#: Classes up to which there is a matrix of all of them, and up to which they stand in their own order.
MATRIX, FEW = 60, 12
#: Rows from which on a histogram has finer bars.
_MANY = 20_000
#: Nats below which nobody asks how small a loss is.
_NOTHING = 1e-6
#: Colors of curves of several labels.
_TONES = ("main", "second", "good", "bad")
#: Bins of the histogram of scores.
_SCORES = 30


def losses(ev: Evaluation) -> Picture | None:
    """Rows by loss, on a logarithmic axis."""
    bars = loss_bars(ev)
    if not bars:
        return None
    unit, total = ev.unit, ev.num_rows
    marks: list[Any] = [
        Box(
            low,
            high,
            0.0,
            count / total,
            f"{_from_to(low, high, bars, unit)}: {as_percent(count / total)}, {count:,} rows",
        )
        for low, high, count in bars
    ]
    finite = [bar for bar in bars if math.isfinite(bar[1])]
    edge = (finite[-1][1] if finite else 1.0) * 1.0
    high = edge
    if len(finite) < len(bars):  # infinite losses have a bar of their own at the end
        high = 4.0 * edge
        count = bars[-1][2]
        marks[-1] = Box(1.6 * edge, high, 0.0, count / total, f"infinite: {count:,} rows", "bad")
    low = bars[0][0]
    marks += [
        Rule(at, "x", f"{words} {as_number(at, 4)}", tone)
        for at, words, tone in (
            (ev.loss, "mean", "second"),
            (base_rate(ev), "always the shares of the classes", "muted"),
        )
        if at is not None and low < at < edge
    ]
    most = max(count for *_, count in bars) / total
    where = max(finite or bars, key=lambda bar: bar[2])
    ends = " ".join(_ends(ev, bars))
    return Picture(
        "loss",
        "How large is the loss of a row?",
        f"Histogram of the row losses. Most lie around {as_number(where[1], 2)} {unit}; the mean is"
        f" {as_number(ev.loss, 4)}. {ends}",
        f"Share of the rows by loss. The mean is often carried by few rows at the right. {ends}",
        Axis(f"loss of a row ({unit}, logarithmic)", low, high, log=True),
        Axis("share of the rows", 0.0, 1.06 * most, percent=True),
        marks,
    )


def loss_bars(ev: Evaluation) -> list[tuple[float, float, int]]:
    """Low edge, high edge and rows of the bars of the histogram; the first holds all that is next to nothing.

    Bars are cut where a cell of the histogram ends nearest to equal steps of the logarithm.
    """
    if "variance" not in ev.reading or not ev.num_rows:
        return []
    cells = ev.reading.sums.cells("losses")
    finest = 128 >> (cells.level if cells is not None else 0)
    if not finest:
        return []
    table = ev.loss_histogram(finest)
    low, high, count = (table[name].to_numpy() for name in ("low", "high", "count"))
    floor = ev.unit.of(_NOTHING)
    steps = min(finest, 4 if ev.num_rows >= _MANY else 2)
    number = np.floor(steps * (np.log2(np.maximum(low, floor) / floor) + 0.5 / finest))
    starts = run_starts(np.where(np.isinf(high), math.inf, number))
    ends = np.append(starts[1:], len(low)) - 1
    edges = np.maximum(low[starts], floor), np.maximum(high[ends], 2.0 * floor)
    bars = list(zip(*(each.tolist() for each in edges), np.add.reduceat(count, starts).tolist(), strict=True))
    last = max((i for i, bar in enumerate(bars) if bar[2] and math.isfinite(bar[1])), default=-1)
    return bars[: last + 1] + [bar for bar in bars[last + 1 :] if bar[2]]


def _from_to(low: float, high: float, bars: Sequence[Any], unit: Any) -> str:
    if low == bars[0][0] == unit.of(_NOTHING):
        return f"below {as_number(high, 3)} {unit}"
    return f"{as_number(low, 3)} to {as_number(high, 3)} {unit}"


def base_rate(ev: Evaluation) -> float | None:
    """The loss of always predicting the shares of the classes; None where it is not known."""
    relative = ev.normalized_entropy
    return None if relative is None or not relative > 0 or math.isinf(relative) else ev.loss / relative


def _ends(ev: Evaluation, bars: Sequence[tuple[float, float, int]]) -> list[str]:
    """What piles up at the ends."""
    said = []
    if bars[0][0] == ev.unit.of(_NOTHING) and (share := bars[0][2] / ev.num_rows) >= 0.01:
        said.append(f"{as_percent(share)} of the rows at the left end lose next to nothing: certain, and right.")
    if infinite := bars[-1][2] * math.isinf(bars[-1][1]):
        said.append(f"{infinite:,} rows at the right end have an infinite loss: their target has no probability.")
    elif (top := ev.quantile(0.99)).high >= ev.fields["max"] > 1.5 * ev.loss and top.high < 1.01 * top.low:
        said.append(
            f"1 % of the rows or more pile up at the largest loss, {as_number(top.high, 4)}: predictions are clipped or"
            " rounded there."
        )
    return said


def reliability(ev: Evaluation) -> Picture | None:
    """Accuracy over confidence, with intervals, above the histogram of the confidence."""
    rows = [] if ev.calibration is None else [row for row in ev.calibration.rows if row["count"]]
    if not rows:
        return None
    binary = ev.totals.spec.task == "binary"
    what, right = ("probability of class 1", "of class 1") if binary else ("confidence", "right")
    most = max(row["count"] for row in rows)
    marks: list[Any] = [Curve((0.0, 1.0), (0.0, 1.0), "muted", dashed=True)]
    for row in rows:
        low, high = wilson(row["accuracy"], row["count"])
        tip = (
            f"{what} {as_percent(row['confidence'])}: {as_percent(row['accuracy'])} {right}"
            f" (95 %: {as_percent(low)} to {as_percent(high)}), {row['count']:,} rows"
        )
        tone = "main" if low <= row["confidence"] <= high else "second"
        marks.append(Point(row["confidence"], row["accuracy"], tip, tone, along="y", low=low, high=high))
    for row in rows:
        width = max(row["high"] - row["low"], 0.012)
        x0, high = min(row["low"], 1.0 - width), -0.30 + 0.22 * row["count"] / most
        tip = f"{row['count']:,} rows have a {what} of {as_percent(row['low'])} to {as_percent(row['high'])}"
        marks.append(Box(x0 + 0.04 * width, x0 + 0.96 * width, -0.30, high, tip, "muted", 0.55))
    worst = max(rows, key=lambda row: abs(row["confidence"] - row["accuracy"]) * math.sqrt(row["count"]))
    return Picture(
        "reliability",
        "Does 90 % confidence mean 90 % right?" if not binary else "Are 90 % of those with 90 % of class 1?",
        f"Reliability diagram of {len(rows)} bins. The gap that matters most is at a {what} of"
        f" {as_percent(worst['confidence'])}, where {as_percent(worst['accuracy'])} are {right}.",
        "Dots with 95 % intervals; on the dashed line is calibrated"
        + (". " if binary else ", below it too sure. ")
        + "The bars below are the rows.",
        Axis(f"mean {what} of a bin", -0.01, 1.01, percent=True),
        Axis("share of class 1" if binary else "accuracy", -0.31, 1.02, percent=True),
        marks,
        legend=(("main", "agrees"), ("second", "off the line")),
    )


def scores(ev: Evaluation) -> Picture | None:
    """Rows of either class by the probability of class 1."""
    if ev.totals.spec.task != "binary" or ev.calibration is None or not ev.num_rows:
        return None
    level = ev.reading.sums.cells("calibration").level  # type: ignore[union-attr]
    rows = ev.calibrate(_SCORES if level < 3 else 15).rows
    found = []
    for row in rows:
        size = row.get("weight", row["count"])
        ones = size * (row["accuracy"] or 0.0)
        found.append((row["low"], row["high"], size - ones, ones))
    totals = [sum(entry[side] for entry in found) for side in (2, 3)]
    if not all(totals):
        return None
    names = ev.class_names
    marks: list[Any] = []
    for low, high, *sides in found:
        for name, tone, size, total in zip(names, ("main", "second"), sides, totals, strict=True):
            tip = f"{as_percent(size / total)} of class {name} have {as_percent(low)} to {as_percent(high)}"
            marks.append(Box(low, high, 0.0, size / total, tip, tone, 0.5))
    most = max(mark.y1 for mark in marks)
    return Picture(
        "scores",
        "Do the scores tell the classes apart?",
        f"Histograms of the probability of class 1, of the rows of class {names[0]} and of class {names[1]}.",
        "Share of the rows of each class by the probability of class 1. Where they overlap, no threshold parts them.",
        Axis("probability of class 1", 0.0, 1.0, percent=True),
        Axis("share of the class", 0.0, 1.06 * most, percent=True),
        marks,
        legend=(("main", f"class {shortened(names[0])}"), ("second", f"class {shortened(names[1])}")),
    )


def roc(ev: Evaluation) -> Picture | None:
    """The ROC curve; of several labels those of the hardest."""
    labels_ = _ranked(ev)
    marks: list[Any] = [Curve((0.0, 1.0), (0.0, 1.0), "muted", dashed=True, label="chance")]
    for tone, (label, name, row) in zip(_TONES, labels_, strict=False):
        curve = ev.roc_curve(label)
        marks.append(Curve(*_thinned(curve.fpr, curve.tpr), tone, label=f"{name}AUC {as_number(row['auc'], 4)}"))
    if not labels_:
        return None
    for row in _operating_points(ev):
        tip = (
            f"from a probability of {as_percent(row['probability'], 0)} on: {as_percent(row['recall'])} of class 1 are"
            f" found, and {as_percent(row['fpr'])} of the others taken for it"
        )
        marks.append(Point(row["fpr"], row["recall"], tip, "main", 3.0))
    return Picture(
        "roc",
        "How many are found for how many false alarms?",
        f"ROC curve. {labels_[0][1]}ROC AUC {as_number(labels_[0][2]['auc'], 4)}.",
        f"Share of positives that are found over the share of negatives that are taken for one. {_dots(ev)}",
        Axis("false-positive rate", 0.0, 1.0, percent=True),
        Axis("recall", 0.0, 1.02, percent=True),
        marks,
    )


def pr(ev: Evaluation) -> Picture | None:
    """The precision-recall curve; of several labels those of the hardest."""
    labels_ = _ranked(ev)
    marks: list[Any] = []
    for tone, (label, name, row) in zip(_TONES, labels_, strict=False):
        curve = ev.pr_curve(label)
        words = f"{name}average precision {as_number(row['average_precision'], 4)}"
        marks.append(Curve(*_thinned(curve.recall[:-1], curve.precision[:-1]), tone, label=words))
    if not labels_:
        return None
    for row in _operating_points(ev):
        tip = (
            f"from a probability of {as_percent(row['probability'], 0)} on: recall {as_percent(row['recall'])},"
            f" precision {as_percent(row['precision'])}"
        )
        marks.append(Point(row["recall"], row["precision"], tip, "main", 3.0))
    return Picture(
        "pr",
        "How many of those that are found are right?",
        f"Precision-recall curve. {labels_[0][1]}average precision {as_number(labels_[0][2]['average_precision'], 4)}.",
        f"Precision over recall. {_dots(ev)}",
        Axis("recall", 0.0, 1.0, percent=True),
        Axis("precision", 0.0, 1.02, percent=True),
        marks,
    )


def _ranked(ev: Evaluation) -> list[tuple[int, str, Any]]:
    """Number, name and areas of the labels whose curves are drawn: the hardest."""
    rows = [] if ev.ranking is None or not ev.num_rows else ev.ranking.to_pylist()
    known = [(i, "" if len(rows) == 1 else f"{shortened(row['label'])}: ", row) for i, row in enumerate(rows)]
    known = [each for each in known if each[2]["auc"] == each[2]["auc"]]
    return sorted(known, key=lambda each: each[2]["auc"])[: len(_TONES)]


def _operating_points(ev: Evaluation) -> list[Any]:
    """What single thresholds of a binary task give."""
    if ev.totals.spec.task != "binary":
        return []
    rows = [
        row for row in ev.thresholds().to_pylist() if row["probability"] in (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)
    ]
    return [row for row in rows if all(map(math.isfinite, (row["recall"], row["fpr"], row["precision"])))]


def _dots(ev: Evaluation) -> str:
    binary = ev.totals.spec.task == "binary"
    return "Dots are thresholds from 5 % to 90 %." if binary else "The hardest labels, by their ROC AUC."


def _thinned(x: Any, y: Any) -> tuple[list[float], list[float]]:
    """Of the points of a curve those that can be told apart."""
    number = np.floor(200 * x) * 1000 + np.floor(200 * y)
    kept = np.union1d(run_starts(number), [len(x) - 1])
    return x[kept].tolist(), y[kept].tolist()


def thresholds(ev: Evaluation) -> Picture | None:
    """Precision, recall and F1 over the threshold of a binary task."""
    if ev.totals.spec.task != "binary" or ev.thresholds() is None or not ev.num_rows:
        return None
    rows = sorted(ev.thresholds().to_pylist(), key=lambda row: row["probability"])
    kinds = {"precision": "main", "recall": "second", "f1": "good"}
    at = [row["probability"] for row in rows]
    marks: list[Any] = [
        Curve(at, [row[name] for row in rows], tone, label="F1" if name == "f1" else name)
        for name, tone in kinds.items()
    ]
    for row in rows:
        tip = (
            f"from a probability of {as_percent(row['probability'])} on: "
            f"precision {as_percent(row['precision'])}, recall"
            f" {as_percent(row['recall'])}, F1 {as_percent(row['f1'])}, {as_percent(row['predicted'])} predicted"
        )
        marks += [
            Point(row["probability"], row[name], tip, tone, 2.5)
            for name, tone in kinds.items()
            if row[name] == row[name]
        ]
    best = max(rows, key=lambda row: -1.0 if math.isnan(row["f1"]) else row["f1"])
    return Picture(
        "thresholds",
        "From which probability on is it class 1?",
        f"Precision, recall and F1 over the threshold. The largest F1 of those tried is {as_percent(best['f1'])}, at"
        f" {as_percent(best['probability'])}.",
        f"The largest F1 of the thresholds tried is {as_percent(best['f1'])}, at {as_percent(best['probability'])}.",
        Axis("threshold", 0.0, 1.0, percent=True),
        Axis("", 0.0, 1.02, percent=True),
        marks,
    )


def temperature(ev: Evaluation) -> Picture | None:
    """The loss over the temperature that the logits are divided by."""
    stats = ev.temperature
    found = [] if stats is None else [row for row in stats.table.to_pylist() if math.isfinite(row["loss"])]
    if stats is None or not found:
        return None
    at, loss = ([row[name] for row in found] for name in ("temperature", "loss"))
    low, high = limits(loss)
    marks: list[Any] = [Curve(at, loss), Rule(1.0, "x", "as it is", "muted")]
    marks += [
        Point(x, y, f"divided by {as_number(x, 4)}: {as_number(y, 5)} {ev.unit}", size=2.5)
        for x, y in zip(at, loss, strict=True)
    ]
    less = f"by {as_number(stats.gain, 3)} {ev.unit}"
    said = f"Logits divided by {as_number(stats.best, 3)} would have a loss lower {less}."
    if not stats.gain > 0.0:
        said = "No other temperature that was tried has a lower loss."
    if math.isfinite(stats.loss):
        marks.append(Point(stats.best, stats.loss, said, "second", 4.5))
    return Picture(
        "temperature",
        "Would another temperature help?",
        f"Loss over the temperature. {said}",
        f"{said} A best temperature above 1 means that the model is too sure.",
        Axis("temperature", at[0], at[-1], log=True),
        Axis(f"loss ({ev.unit})", low, high),
        marks,
        legend=(("second", "best"),),
    )


def groups(ev: Evaluation) -> Picture | None:
    """The mean loss of the groups with its interval, worst first, and that of all rows."""
    entries = [
        {
            "name": group_name(row[column]) if len(ev.margins or {}) < 2 else f"{column}: {group_name(row[column])}",
            **row,
        }
        for column, table in (ev.margins or {}).items()
        for row in table.select([column, *_columns_of(table)]).to_pylist()
    ]
    if not entries and ev.groups is not None:
        columns = ev.groups.column_names[: ev.groups.column_names.index("count")]
        shown = ev.groups.select([*columns, *_columns_of(ev.groups)])
        if shown.num_rows > LINES:
            shown = shown.take(worst_and_largest(shown, LINES, 0))
        entries = [{"name": " · ".join(group_name(row[c]) for c in columns), **row} for row in shown.to_pylist()]
    total = ev.groups.num_rows if ev.groups is not None and not ev.margins else len(entries)
    entries = [entry for entry in entries if math.isfinite(entry["loss"])]
    surest = sorted(entries, key=lambda entry: -_surely(entry))[:LINES]
    entries = sorted(surest, key=lambda entry: -entry["loss"])
    if not entries:
        return None
    lines = []
    for entry in entries:
        ends = (entry.get("ci_low", math.nan), entry.get("ci_high", math.nan))
        right = f", accuracy {as_percent(entry['accuracy'])}" if "accuracy" in entry else ""
        tip = (
            f"{entry['name']}: loss {as_number(entry['loss'], 4)} "
            f"({interval(*ends) or 'no interval'}){right}, {entry['count']:,} rows"
        )
        tone = "bad" if ends[0] > ev.loss else "good" if ends[1] < ev.loss else "muted"
        lines.append((entry["name"], entry["loss"], *ends, tone, tip))
    worst = entries[0]
    return forest(
        "groups",
        "In which slices is it worse?",
        f"Mean loss of slices, worst first. Highest: {worst['name']} with "
        f"{as_number(worst['loss'], 4)}, where all rows have"
        f" {as_number(ev.loss, 4)}.",
        lines,
        f"mean loss ({ev.unit})",
        Rule(ev.loss, "x", f"all rows {as_number(ev.loss, 4)}"),
        total,
        (("bad", "interval above all rows"), ("good", "below")),
    )


def _columns_of(table: Any) -> list[str]:
    return [name for name in ("count", "loss", "ci_low", "ci_high", "accuracy") if name in table.column_names]


def _surely(entry: Any) -> float:
    """What the loss surely is at least; an unknown end counts as nothing."""
    low = entry.get("ci_low", entry["loss"])
    return -1.0 if math.isnan(low) else float(low)


def worst_and_largest(table: Any, worst: int, largest: int) -> Any:
    """Rows of a table of groups, by number: those whose loss is surely the worst, then those with the most rows."""
    loss = table["ci_low" if "ci_low" in table.column_names else "loss"].to_numpy()
    by_loss = np.argsort(np.where(np.isnan(loss), math.inf, -loss), kind="stable")[:worst]
    by_size = np.argsort(-table["count"].to_numpy(), kind="stable")
    more = by_size[~np.isin(by_size, by_loss)][:largest]
    return np.concatenate((by_loss, more))


def forest(
    name: str,
    title: str,
    alt: str,
    lines: Sequence[tuple[str, float, float, float, str, str]],
    label: str,
    rule: Rule,
    total: int,
    legend: tuple[tuple[str, str], ...],
) -> Picture:
    """Numbers with their intervals, a line each: name, number, both ends, color, and what is said of it."""
    known = [value for _, mean, low, high, *_ in lines for value in (mean, low, high) if math.isfinite(value)]
    means = [mean for _, mean, *_ in lines] + [rule.at]
    reach = max(means) - min(means) or abs(max(means)) or 1.0
    low, high = limits([min(max(value, min(means) - reach), max(means) + reach) for value in [*known, rule.at]])
    marks: list[Any] = [rule]
    marks += [Point(mean, i, tip, tone, low=a, high=b) for i, (_, mean, a, b, tone, tip) in enumerate(lines)]
    more = f" {len(lines)} of {total:,} are shown; the table has more." if total > len(lines) else ""
    return Picture(
        name,
        title,
        alt,
        f"With 95 % intervals, each taken alone.{more}",
        Axis(label, low, high),
        names_axis("", [line[0] for line in lines], [as_number(line[1], 3) for line in lines]),
        marks,
        legend=legend,
    )


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis with some room around the values."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - room, high + room


def classes(ev: Evaluation) -> Picture | None:
    """The mean loss of the classes, those that carry the most of all losses first."""
    table = ev.per_class
    if table is None:
        return None
    entries = [row for row in table.to_pylist() if row["support"] and row["loss"] == row["loss"]]
    entries.sort(key=lambda row: -_total(row))
    total = sum(map(_total, entries))
    if not entries:
        return None
    shown = entries[:LINES]
    finite = [row["loss"] for row in shown if math.isfinite(row["loss"])]
    high = 1.06 * (max(finite, default=1.0) or 1.0)
    marks: list[Any] = [Rule(ev.loss, "x", f"all rows {as_number(ev.loss, 4)}")] if ev.loss < high else []
    most = max(row["support"] for row in shown)
    for i, row in enumerate(shown):
        share = f"{as_percent(_total(row) / total)} of all losses" if 0 < total < math.inf else ""
        tip = (
            f"{row['class']}: loss {as_number(row['loss'], 4)}, recall {as_percent(row['recall'])}, precision"
            f" {as_percent(row['precision'])}, {row['support']:,} rows, {share}"
        )
        size = 2.5 + 4.0 * math.sqrt(row["support"] / most)
        marks.append(Point(row["loss"], i, tip, "main" if row["loss"] <= ev.loss else "second", size))
    more = f" The first {LINES} of {len(entries)} classes." if len(entries) > LINES else ""
    return Picture(
        "classes",
        "Which classes carry the loss?",
        f"Mean loss by class. Most of the losses: {shown[0]['class']} with "
        f"{as_number(shown[0]['loss'], 3)} {ev.unit} a row.",
        "Mean loss of the rows of a class; a larger dot is more rows. "
        f"Those with the most of all losses come first.{more}",
        Axis(f"mean loss ({ev.unit})", 0.0, high),
        names_axis("", [row["class"] for row in shown], [as_percent(row["recall"], 0) for row in shown]),
        marks,
        legend=(("second", "above all rows; at the right the recall"),),
    )


def _total(row: Any) -> float:
    total = row.get("weight", row["support"]) * row["loss"]
    return float(total) if total == total else 0.0


def labels(ev: Evaluation) -> Picture | None:
    """The area under the ROC curve of every label of a multilabel task, the least first."""
    table = ev.ranking if ev.totals.spec.task == "multilabel" else None
    if table is None:
        return None
    rows = sorted((row for row in table.to_pylist() if row["auc"] == row["auc"]), key=lambda row: row["auc"])
    if not rows:
        return None
    shown = rows[:LINES]
    marks: list[Any] = [Rule(0.5, "x", "chance", "muted")] if shown[0]["auc"] < 0.6 else []
    for i, row in enumerate(shown):
        tip = (
            f"{row['label']}: ROC AUC {as_number(row['auc'], 4)}, average "
            f"precision {as_number(row['average_precision'], 4)}"
        )
        marks.append(Point(row["auc"], i, tip, low=row["auc_low"], high=row["auc_high"]))
    low, _ = limits([row["auc"] for row in shown] + [1.0])
    more = f" The lowest {LINES} of {len(rows)} labels." if len(rows) > LINES else ""
    return Picture(
        "labels",
        "Which labels are hard?",
        f"ROC AUC by label. Lowest: {shown[0]['label']} with {as_number(shown[0]['auc'], 4)}.",
        f"Area under the ROC curve of every label, the hardest first.{more}",
        Axis("ROC AUC", low, 1.0),
        names_axis("", [str(row["label"]) for row in shown], [as_number(row["auc"], 3) for row in shown]),
        marks,
    )


def confusion(ev: Evaluation) -> Picture | None:
    """Shares of every target class by predicted class; of many classes the pairs that are confused most."""
    counts = ev.confusion
    if counts is None or not counts.any():
        return None
    n = len(counts)
    if n > MATRIX or n != len(ev.class_names):
        return _pairs(ev)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    order = _class_order(shares) if n > FEW else list(range(n))
    names = [ev.class_names[i] for i in order]
    marks: list[Any] = []
    for y, target in enumerate(order):
        for x, predicted in enumerate(order):
            if count := int(counts[target, predicted]):
                share = shares[target, predicted]
                tip = f"{names[y]} taken for {names[x]}: {as_percent(share)}, {count:,} rows"
                if target == predicted:
                    tip = f"{names[y]}, right: {as_percent(share)}, {count:,} rows"
                text = f"{100 * share:.0f}" if n <= FEW and share >= 0.005 else ""
                tone, strength = "main" if target == predicted else "second", 0.08 + 0.87 * math.sqrt(share)
                marks.append(_cell(x, y, tip, tone, strength, text))
    off = counts - np.diag(np.diag(counts))
    t, p = divmod(int(off.argmax()), n)
    said = (
        f"Most often: {ev.class_names[t]} taken for {ev.class_names[p]}, {int(off[t, p]):,} times."
        if off.any()
        else "None is confused."
    )
    sorted_ = (
        " Classes that are confused with one another stand together."
        if n > FEW
        else " Numbers are percent of the target."
    )
    return Picture(
        "confusion",
        "Which classes are taken for which?",
        f"Confusion matrix of {n} classes. {said}",
        f"Share of each target class (a line) by predicted class (a column).{sorted_} {said}",
        names_axis("predicted", names),
        names_axis("target", names),
        marks,
        legend=(("main", "right"), ("second", "wrong")),
        square=True,
    )


def _cell(x: int, y: int, tip: str, tone: str, strength: float, text: str = "") -> Box:
    return Box(x - 0.47, x + 0.47, y - 0.47, y + 0.47, tip, tone, strength, text)


def _class_order(shares: Any) -> list[int]:
    """Classes in an order in which those that are confused with one another stand together.

    Along the second eigenvector of the Laplacian of their confusions (Fiedler 1973), which keeps neighbours close.
    """
    weights = shares + shares.T + 1e-6
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    along = np.linalg.eigh(laplacian)[1][:, 1].round(9)
    sign = 1.0 if along[np.argmax(np.abs(along))] > 0 else -1.0
    return [int(i) for i in np.argsort(sign * along, kind="stable")]


def _pairs(ev: Evaluation) -> Picture | None:
    """The pairs of classes that are confused most."""
    rows = [] if ev.confused is None else ev.confused.to_pylist()
    if not rows:
        return None
    names = [f"{shortened(row['target'], 8)} → {shortened(row['predicted'], 8)}" for row in rows]
    marks: list[Any] = [
        Box(
            0.0,
            row["count"],
            i - 0.36,
            i + 0.36,
            f"{row['target']} taken for {row['predicted']}: {row['count']:,} rows",
            "second",
        )
        for i, row in enumerate(rows)
    ]
    first = f"{rows[0]['target']} taken for {rows[0]['predicted']}, {rows[0]['count']:,} times."
    return Picture(
        "confusion",
        "Which classes are taken for which?",
        f"The {len(rows)} pairs of classes that are confused most. Most often: {first}",
        f"Target → predicted: the {len(rows)} pairs that are confused most. Most often: {first}",
        Axis("rows", 0.0, 1.06 * rows[0]["count"]),
        names_axis("", names, [f"{row['count']:,}" for row in rows]),
        marks,
    )


def group_classes(ev: Evaluation) -> Picture | None:
    """The mean loss of the classes of groups: a line a group, a column a class, those that carry most of the losses."""
    table = ev.group_per_class
    if table is None or not table.num_rows:
        return None
    columns = table.column_names[: table.column_names.index("class")]
    cells: dict[tuple[str, str], Any] = {}
    by_group: dict[str, float] = {}
    by_class: dict[str, float] = {}
    for row in table.to_pylist():
        if row["support"] and math.isfinite(row["loss"]):
            name = " · ".join(group_name(row[column]) for column in columns)
            cells[name, row["class"]] = row
            by_group[name] = by_group.get(name, 0.0) + _total(row)
            by_class[row["class"]] = by_class.get(row["class"], 0.0) + _total(row)
    lines, across = (sorted(found, key=lambda name: -found[name])[:LINES] for found in (by_group, by_class))
    if len(by_class) <= FEW:
        across = [name for name in ev.class_names if name in by_class]
    shown = {key: row for key, row in cells.items() if key[0] in lines and key[1] in across}
    if len(lines) < 2 or not shown:
        return None
    marks: list[Any] = []
    for (line, name), row in shown.items():
        x, y = across.index(name), lines.index(line)
        tip = (
            f"{line}, class {name}: loss {as_number(row['loss'], 4)}, recall "
            f"{as_percent(row['recall'])}, {row['support']:,} rows"
        )
        away = math.log2(row["loss"] / ev.loss) if row["loss"] > 0.0 < ev.loss < math.inf else 0.0
        strength = 0.06 + 0.88 * min(abs(away) / 2.0, 1.0)  # full at four times as much as all rows have
        marks.append(_cell(x, y, tip, "second" if away > 0.0 else "main", strength))
    (line, name), worst = max(shown.items(), key=lambda item: _total(item[1]))
    said = f"{line}, class {name} carries the most: loss {as_number(worst['loss'], 3)}, {worst['support']:,} rows."
    less = len(lines) < len(by_group) or len(across) < len(by_class)
    more = (
        f" {len(lines)} of {len(by_group):,} slices and {len(across)} of {len(by_class):,} classes are shown."
        if less
        else ""
    )
    return Picture(
        "group_classes",
        "Which classes of which slices?",
        f"Mean loss by slice and class. {said}",
        f"Mean loss against that of all rows: the stronger the color, the further from it. {said}{more}",
        names_axis("class", across),
        names_axis("", lines),
        marks,
        legend=(("second", "above all rows"), ("main", "below")),
    )


#: Names of `Evaluation.plot`, in the order of a page.
PICTURES: dict[str, Callable[[Evaluation], Picture | None]] = {
    "loss": losses, "reliability": reliability, "scores": scores, "roc": roc, "pr": pr, "thresholds": thresholds,
    "temperature": temperature, "groups": groups, "group_classes": group_classes, "classes": classes, "labels": labels,
    "confusion": confusion,
}  # fmt: skip
