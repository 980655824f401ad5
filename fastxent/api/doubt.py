"""Doubts about what was meant, as warnings of Python's where the caller's line is."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from fastxent.base.errors import DoubtWarning

__all__ = ["warn"]


def warn(doubts: Iterable[str]) -> None:
    """Warn of each, in the line that called fastxent."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fastxent."):
        level, frame = level + 1, frame.f_back
    for doubt in doubts:
        warnings.warn(doubt, DoubtWarning, stacklevel=level)
