"""Pictures of single rows."""

from __future__ import annotations

from fastxent.report.parts import as_percent
from fastxent.report.picture import Axis, Picture, Point, names_axis, shortened
from fastxent.report.pictures.forest import LINES
from fastxent.results.evaluation import Evaluation

__all__ = ["label_errors"]


def label_errors(ev: Evaluation) -> Picture | None:
    """Of the rows that are perhaps labeled wrong the probabilities of the label and of the prediction."""
    table = (ev.label_errors or {}).get("self_confidence")
    if table is None or not {"target", "predicted", "p_target", "confidence"} <= set(table.column_names):
        return None
    found = table.slice(0, LINES).to_pylist()
    if not found:
        return None
    marks = []
    for i, row in enumerate(found):
        tip = (
            f"row {row['row']} of {row['path']}: labeled {row['target']} ({as_percent(row['p_target'])}), predicted"
            f" {row['predicted']} ({as_percent(row['confidence'])})"
        )
        marks.append(Point(row["confidence"], i, tip, "second", low=row["p_target"], high=row["confidence"]))
    names = [f"{shortened(row['target'], 8)} → {shortened(row['predicted'], 8)}" for row in found]
    more = f" The first {len(found)} of {table.num_rows:,}." if table.num_rows > len(found) else ""
    first = f"{found[0]['target']}, predicted {found[0]['predicted']} with {as_percent(found[0]['confidence'])}"
    return Picture(
        "label_errors",
        "Which labels may be wrong?",
        f"Rows that are perhaps labeled wrong. First: row {found[0]['row']}, labeled {first}.",
        f"Label → prediction: from the probability of the label to that of the prediction, a dot.{more}",
        Axis("probability", 0.0, 1.0, percent=True),
        names_axis("", names, [str(row["row"]) for row in found]),
        list(marks),
        legend=(("second", "prediction; at the right the row"),),
    )
