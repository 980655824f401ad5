"""What the files in this folder hold, by exact arithmetic: the same bits in every version of every library."""

from __future__ import annotations

import numpy as np

ROWS, CLASSES = 40, 4
NAMES = tuple(f"p_{j}" for j in range(CLASSES))
WORDS = ("ant", "bee", "cat", "dog")
COUNTRIES = ("DE", "Côte d'Ivoire", "a/b=c d%", None)


def scores(rows=ROWS):
    """(rows, CLASSES) float64 with full mantissas and both signs; each is rounded once."""
    numbers = np.arange(rows * CLASSES).reshape(rows, CLASSES)
    return (numbers * 7919 % 1009 - 504) / 97


def sparse_scores(rows=ROWS):
    """The same with zeros: those that a sparse vector leaves away. Row 5 has nothing else."""
    values = np.where((np.arange(rows)[:, None] + np.arange(CLASSES)) % 3 == 0, scores(rows), 0.0)
    values[5:6] = 0.0
    return values


def labels(rows=ROWS):
    """(rows,) class indices."""
    numbers = np.arange(rows)
    return (numbers * numbers + numbers // 3) % CLASSES


def countries(rows=ROWS):
    """(rows,) names that must be escaped in the name of a folder, and nulls."""
    return [COUNTRIES[i % len(COUNTRIES)] for i in range(rows)]
