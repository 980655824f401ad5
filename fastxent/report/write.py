"""Reports: an evaluation or a comparison as one HTML page that needs no network and no other file; single pictures.

What was gathered is shown, what was not is left out. Needs the extra ``report`` (Jinja2), or ``plot`` (Matplotlib).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastxent.base.errors import UsageError
from fastxent.results.gates import Gate, parse_gate

if TYPE_CHECKING:
    from fastxent.comparison.result import Comparison
    from fastxent.results.evaluation import Evaluation

__all__ = ["need_report", "plot", "verdict", "write_report"]


def need_report() -> None:
    """Raise UsageError where Jinja2 is not installed."""
    if find_spec("jinja2") is None:
        raise UsageError("a report needs jinja2: pip install 'fastxent[report]'")


def write_report(
    result: Evaluation | Comparison,
    path: str | os.PathLike[str] | None = None,
    gates: Iterable[str | Gate] = (),
    baseline: Any = None,
) -> str:
    """The report of a result as HTML text, also written to ``path`` if one is given.

    Args:
        result: an evaluation or a comparison.
        path: file to write.
        gates: conditions under which the model may not ship, as ``--fail-if`` takes them.
        baseline: what an evaluation is beside, a state file or what was read of it.

    Raises:
        UsageError: Jinja2 is not installed, or a gate is none.
    """
    need_report()
    from fastxent.report.page import render

    if isinstance(baseline, str | os.PathLike):
        from fastxent.comparison.baseline import against

        baseline = against(result, baseline)  # type: ignore[arg-type]
    text = render(result, [parse_gate(gate) if isinstance(gate, str) else gate for gate in gates], baseline)
    if path is not None:
        from fastxent.base.atomic_files import write_atomically

        write_atomically(path, text.encode())
    return text


def verdict(result: Evaluation | Comparison) -> str:
    """The first sentence of the report."""
    from fastxent.comparison.result import Comparison
    from fastxent.report.verdict import judge_comparison, judge_evaluation

    return (judge_comparison(result) if isinstance(result, Comparison) else judge_evaluation(result)).sentence


def plot(result: Evaluation | Comparison, name: str, ax: Any = None) -> Any:
    """The picture of a result by its name, drawn by Matplotlib: its ``Axes``.

    Raises:
        UsageError: Matplotlib is not installed, there is no picture of this name, or nothing to show in it.
    """
    from fastxent.comparison.result import Comparison
    from fastxent.report.axes import on_axes
    from fastxent.report.pictures.registry import OF_COMPARISON, OF_EVALUATION

    makers: dict[str, Any] = OF_COMPARISON if isinstance(result, Comparison) else OF_EVALUATION
    if name not in makers:
        raise UsageError(f"plot: expected one of {', '.join(map(repr, makers))}, got {name!r}")
    picture = makers[name](result)
    if picture is None:
        there = ", ".join(repr(other) for other, make in makers.items() if make(result) is not None) or "nothing"
        raise UsageError(f"plot: nothing was gathered that {name!r} shows; there is {there}")
    return on_axes(picture, ax)
