"""Fill in what a call leaves open, where the data leaves one possibility."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from fastxent.base.errors import UsageError
from fastxent.data.spec import Task
from fastxent.sources.dataset.candidates import Candidate
from fastxent.sources.dataset.description import Description
from fastxent.sources.source import Selection

__all__ = ["infer_selection"]


def infer_selection(
    description: Description,
    *,
    predictions: Sequence[str] | None = None,
    target: str | None = None,
    task: Task | None = None,
    weight: str | None = None,
    mask: str | None = None,
    extra: Sequence[str] = (),
    class_names: Sequence[str] | None = None,
    dtype: str | None = None,
) -> Selection:
    """A `Selection` with what the call says, and for the rest what the data leaves no doubt about.

    Raises:
        UsageError: there are several candidates, or none; the message lists them.
    """
    own = description.metadata
    scores = tuple(predictions) if predictions else _only(description.predictions, "predictions", description).columns
    target = target or _only(_others(description.targets, scores), "target", description).columns[0]
    if task is None:
        task = cast(Task, own["task"]) if own.get("task") in get_args(Task) else _task(description, scores)
    own_dtype = own.get("dtype")
    return Selection(
        predictions=scores,
        target=target,
        task=task,
        weight=weight,
        mask=mask,
        extra=tuple(extra),
        class_names=tuple(class_names) if class_names is not None else None,
        dtype=dtype or (own_dtype if isinstance(own_dtype, str) else None),
    )


def _only(candidates: Sequence[Candidate], what: str, description: Description) -> Candidate:
    """The one candidate; of several, the one whose name speaks for it."""
    named = [candidate for candidate in candidates if candidate.named]
    for group in (candidates, named):
        if len(group) == 1:
            return group[0]
    path = description.paths[0] if description.paths else "the data"
    if not candidates:
        columns = ", ".join(column.name for column in description.columns[:20])
        raise UsageError(f"no column of {path} looks like {what}; name it. The columns are: {columns}")
    listed = "; ".join(f"{', '.join(c.columns[:4])!r} ({c.reason})" for c in (named or candidates)[:12])
    raise UsageError(f"several columns of {path} could be the {what}; name one: {listed}")


def _others(candidates: Sequence[Candidate], taken: Sequence[str]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.columns[0] not in taken]


def _task(description: Description, predictions: Sequence[str]) -> Task:
    """One column with one number a row can only be binary."""
    if len(predictions) != 1:
        return "multiclass"
    kinds = {column.name: column.type for column in description.columns}
    scalar = kinds.get(predictions[0], "") in ("float", "double", "halffloat")
    return "binary" if scalar else "multiclass"
