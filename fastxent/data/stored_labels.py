"""Targets that name classes by values of their own (1 to C, -1 and 1, text), and which class each value means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import UsageError
from fastxent.base.status import Status
from fastxent.data.spec import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StoredLabels", "shown_labels"]


@dataclass(frozen=True, slots=True)
class StoredLabels:
    """The values that targets hold, in the order of the scores: the first means class 0.

    ``ignored`` is the value whose rows are ignored, if any.
    """

    values: tuple[Any, ...]
    ignored: int | None = None

    @classmethod
    def of(cls, values: Iterable[Any], ignored: int | None = None) -> StoredLabels:
        """From the words of the public functions.

        Raises:
            UsageError: a value is neither a number nor text, is named twice, or is the one that is ignored.
        """
        plain = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
        for value in plain:
            if not isinstance(value, bool | int | float | str) or value != value:
                raise UsageError(f"labels: expected numbers, bool or text, got {value!r}")
        if len(set(map(str, plain))) < len(plain) or len(set(plain)) < len(plain):
            raise UsageError(f"labels: a value stands for two classes: {shown_labels(plain)}")
        if ignored is not None and any(_number(value) == ignored for value in plain):
            raise UsageError(f"ignore_index: {ignored} is one of labels, so its rows are those of a class")
        return cls(plain, ignored)

    def check_count(self, classes: int, task: Task) -> None:
        """Raise `UsageError` unless there is one value a class; two where every score is a yes or no."""
        expected = classes if task == "multiclass" else 2
        if len(self.values) != expected:
            raise UsageError(
                f"labels: expected {expected} values, one a class, got {len(self.values)}: {shown_labels(self.values)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The values as text."""
        return tuple(map(str, self.values))

    def places(self, block: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
        """The class of every number or bool in ``block``, and the status of those that are none (and have class 0).

        Raises:
            UsageError: a value is text that is no number.
        """
        if block.dtype.kind not in "iu":
            block = block.astype(np.uint8 if block.dtype.kind == "b" else np.float64)
        table, classes = self._table(block.dtype)
        at = np.minimum(np.searchsorted(table, block), max(len(table) - 1, 0))
        known = table[at] == block if len(table) else np.zeros(block.shape, np.bool_)
        labels = np.where(known, classes[at] if len(table) else 0, 0)
        if known.all():
            return labels, None
        status = np.where(known, Status.SCORED, Status.UNKNOWN_LABEL).astype(np.uint8)
        if self.ignored is not None:
            status[block == self.ignored] = Status.IGNORED
        if block.dtype.kind == "f":
            status[np.isnan(block)] = Status.INVALID_TARGET
        return labels, status

    def _table(self, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The values that numbers of a type can have, ascending, and their classes."""
        numbers = []
        for place, value in enumerate(self.values):
            number = _number(value)
            if number is None:
                raise UsageError(f"labels: the target holds numbers, and {value!r} is none")
            if dtype.kind == "f" or (number == int(number) and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max):
                numbers.append((number, place))
        numbers.sort()
        return np.array([n for n, _ in numbers], dtype), np.array([place for _, place in numbers], np.int64)


def _number(value: Any) -> int | float | None:
    """A value as a number, where it is one, or text that says one."""
    if not isinstance(value, str):
        return int(value) if isinstance(value, bool) else value
    if value.lower() in ("true", "false"):
        return int(value.lower() == "true")
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            pass
    return None


def shown_labels(values: Sequence[Any]) -> str:
    """Values as the shell and messages write them, the first ones of many."""
    return ",".join(map(str, values[:8])) + (",..." if len(values) > 8 else "")
