"""What can go wrong, as one tree.

FastxentError
├── UsageError        the call is wrong: an argument, an option, a combination   (shell: exit code 2)
├── DataError         the data is wrong or cannot be read                        (shell: exit code 3)
│   ├── SourceError   a file, row group or column cannot be read or understood
│   │   └── UnavailableError  it cannot be reached: permission, network, disk, or it has changed
│   └── InvalidRowError   a row cannot be scored, and the policy is to raise
├── OutOfMemoryError  there is not enough memory                                 (shell: exit code 3)
├── OutputError       a file cannot be written: the disk is full, no permission  (shell: exit code 3)
└── StateError        saved totals are damaged, or do not belong together        (shell: exit code 3)

Every message says what is wrong, where it is, what was expected and what to do about it.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DataError",
    "DoubtWarning",
    "FastxentError",
    "InvalidRowError",
    "OutOfMemoryError",
    "OutputError",
    "SourceError",
    "StateError",
    "UnavailableError",
    "UsageError",
]


class FastxentError(Exception):
    """Base of all errors that fastxent raises on purpose. They can be pickled, with what they say of the place."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[FastxentError], args: tuple[Any, ...], attributes: dict[str, Any]) -> FastxentError:
    error = kind.__new__(kind, *args)  # not by __init__, which puts the place before the message once more
    error.__dict__.update(attributes)
    return error


def _place(path: str | None, row_group: int | None, column: str | None) -> str:
    parts = (
        path, None if row_group is None else f"row group {row_group}", None if column is None else f"column {column!r}",
    )  # fmt: skip
    known = ", ".join(part for part in parts if part)
    return f"{known}: " if known else ""


class UsageError(FastxentError, ValueError):
    """The call cannot mean anything: an argument is wrong or two contradict each other."""


class DataError(FastxentError, ValueError):
    """The data is not what the call says it is."""


class SourceError(DataError):
    """A source cannot be read: missing, damaged, or without the columns that were asked for.

    ``path``, ``row_group`` and ``column`` say where, as far as it is known.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        row_group: int | None = None,
        column: str | None = None,
    ) -> None:
        self.path = path
        self.row_group = row_group
        self.column = column
        super().__init__(f"{_place(path, row_group, column)}{message}")


class UnavailableError(SourceError):
    """A source cannot be reached (permission, network, disk) or has changed meanwhile; its bytes may be well.

    Nothing is left out for it, whatever ``on_error`` says.
    """


class InvalidRowError(DataError):
    """A row cannot be scored and ``on_invalid="raise"``.

    ``cause`` is the machine name of the reason (see `fastxent.base.status.Status`), ``path`` and ``row``
    (counted from 0 in its source) say which row it is.
    """

    def __init__(self, message: str, *, cause: str, path: str, row: int) -> None:
        self.cause = cause
        self.path = path
        self.row = row
        super().__init__(message)


class OutOfMemoryError(FastxentError, MemoryError):
    """There is not enough memory for what is read. Nothing is left out for it, whatever ``on_error`` says."""

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        row_group: int | None = None,
        column: str | None = None,
        cure: str = "give a smaller memory= (--memory), take fewer threads, or write smaller row groups",
    ) -> None:
        self.path = path
        super().__init__(f"{_place(path, row_group, column)}not enough memory: {message}; {cure}")


class OutputError(FastxentError, OSError):
    """A file cannot be written; nothing of it is left behind. ``path`` says which one."""

    def __init__(self, message: str, *, path: str) -> None:
        self.path = path
        super().__init__(f"{path}: {message}")


class StateError(FastxentError, ValueError):
    """Saved totals are damaged, or were made under another spec or numerics version."""


class DoubtWarning(UserWarning):
    """The numbers are those of what was said, and the data look as if something else was meant.

    Probabilities named logits, or two classes in the other order. Results have it in ``warnings`` too.
    """
