"""Reports: an evaluation or a comparison as one HTML page that needs no network and no other file.

What is present in ``to_dict()`` is shown, what is absent is left out. Needs the extra ``report`` (Jinja2, Matplotlib).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.base.log_unit import NATS, Unit

__all__ = ["need_report", "write_report"]


def need_report() -> None:
    """Raise UsageError where Jinja2 or Matplotlib is not installed."""
    for name in ("jinja2", "matplotlib"):
        if find_spec(name) is None:
            raise UsageError(f"a report needs {name}: pip install 'fastxent[report]'")


def write_report(
    values: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    confusion: Any = None,
    histogram: Any = None,
    unit: Unit = NATS,
) -> str:
    """The report of a result as HTML text, also written to ``path`` if one is given.

    Args:
        values: `Evaluation.to_dict` or `Comparison.to_dict`.
        path: file to write.
        confusion: rows by target and predicted class, where they were counted.
        histogram: the cells of the loss histogram.
        unit: that of the losses.

    Raises:
        UsageError: Jinja2 or Matplotlib is not installed.
    """
    need_report()
    from fastxent.report.page import render

    text = render(values, confusion=confusion, histogram=histogram, unit=unit)
    if path is not None:
        from fastxent.base.atomic_files import write_atomically

        write_atomically(path, text.encode())
    return text
