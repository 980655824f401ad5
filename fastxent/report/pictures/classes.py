"""Pictures of classes and labels: which carry the loss, and which are taken for which."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastxent.report.parts import as_number, as_percent
from fastxent.report.picture import Axis, Box, Picture, Point, Rule, names_axis, shortened
from fastxent.report.pictures.forest import LINES, cell, limits
from fastxent.results.evaluation import Evaluation

__all__ = ["FEW", "MATRIX", "classes", "confusion", "labels", "total_loss"]

#: Classes up to which there is a matrix of all of them, and up to which they stand in their own order.
MATRIX, FEW = 60, 12


def classes(ev: Evaluation) -> Picture | None:
    """The mean loss of the classes, those that carry the most of all losses first."""
    table = ev.per_class
    if table is None:
        return None
    entries = [row for row in table.to_pylist() if row["support"] and row["loss"] == row["loss"]]
    entries.sort(key=lambda row: -total_loss(row))
    total = sum(map(total_loss, entries))
    if not entries:
        return None
    shown = entries[:LINES]
    finite = [row["loss"] for row in shown if math.isfinite(row["loss"])]
    high = 1.06 * (max(finite, default=1.0) or 1.0)
    marks: list[Any] = [Rule(ev.loss, "x", f"all rows {as_number(ev.loss, 4)}")] if ev.loss < high else []
    most = max(row["support"] for row in shown)
    for i, row in enumerate(shown):
        share = f"{as_percent(total_loss(row) / total)} of all losses" if 0 < total < math.inf else ""
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


def total_loss(row: Any) -> float:
    """The sum of the losses of a class; nothing where it is not known."""
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
                marks.append(cell(x, y, tip, tone, strength, text))
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
