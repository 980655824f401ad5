"""How a run is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """``scale`` multiplies rows; ``folder`` is where files may be made; ``wanted`` says whether a trial is run."""

    threads: int
    scale: float
    budget_seconds: float
    min_rounds: int
    folder: Path
    wanted: Callable[[str, str], bool]
