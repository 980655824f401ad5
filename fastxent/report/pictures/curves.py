"""Pictures of what thresholds give: ROC, precision and recall."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastxent.base.runs import run_starts
from fastxent.report.parts import as_number, as_percent
from fastxent.report.picture import Axis, Curve, Picture, Point, shortened
from fastxent.results.evaluation import Evaluation

__all__ = ["pr", "roc", "thresholds"]

#: Colors of curves of several labels.
_TONES = ("main", "second", "good", "bad")


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
