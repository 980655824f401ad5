"""What an error that comes up while a file is read says: the bytes are damaged, or it is something else.

Only what a reader says of the bytes that it read is damage. A lack of memory, a network or a disk that refuses, and
what the caller's own code raises in between (a signal handler, for one) say nothing of the file.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from types import CodeType
from typing import Any

import pyarrow as pa

from fastxent.base.errors import FastxentError, OutOfMemoryError, UnavailableError

__all__ = ["check_damage", "first_line", "is_callers_own"]

#: Everything that readers raise on damaged bytes.
_OF_READERS = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, RuntimeError, TypeError)
#: Packages whose code reads files.
_READERS = frozenset(("fastxent", "numpy", "pyarrow"))
#: What the clients of object stores in Arrow say, of whatever they cannot fetch.
_STORE = re.compile(r"AWS Error|google::cloud::Status|Azure Error|HTTP (status|response)|curlCode")
#: A length that no machine can hold was never written by anybody.
_IMPOSSIBLE_BYTES = 1 << 46
#: Bytes of what cannot be read in pieces that a reader takes where nobody says what it may hold, and however little
#: it may hold: pages and dictionaries as writers usually make them.
LARGEST, ALLOWANCE = 2 << 30, 32 << 20


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without the full stop."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0].rstrip(".")


def check_damage(
    error: BaseException, path: str | None, row_group: int | None = None, column: str | None = None
) -> None:
    """Return if ``error``, which came up while ``path`` was read, says that the bytes are damaged.

    Raises:
        OutOfMemoryError: there is not enough memory.
        UnavailableError: the system, the disk or the network does not give the bytes.
        Exception: ``error`` itself, if it is one of ours, or neither a reader nor a file system raised it.
    """
    if isinstance(error, FastxentError):
        raise error
    if isinstance(error, MemoryError):
        asked = re.search(r"\bsize (\d+)", str(error))
        if asked and int(asked[1]) >= _IMPOSSIBLE_BYTES:
            return
        raise OutOfMemoryError(first_line(error), path=path, row_group=row_group, column=column) from error
    if is_callers_own(error):
        raise error
    if _refuses(error):
        message = f"cannot be read: {first_line(error)}"
        raise UnavailableError(message, path=path, row_group=row_group, column=column) from error
    if not isinstance(error, _OF_READERS):
        raise error


def check_room(
    what: str, nbytes: int, most: int, path: str, row_group: int | None = None, column: str | None = None
) -> None:
    """Raise OutOfMemoryError for what cannot be read in pieces, and takes more bytes than a reader may hold."""
    if nbytes > (most := max(most, ALLOWANCE)):
        message = f"{what} would take {nbytes >> 20:,} MiB when unpacked, and a thread may hold {most >> 20:,}"
        cure = "give a larger memory= (--memory), take fewer threads, or write the file anew in smaller pieces"
        raise OutOfMemoryError(message, path=path, row_group=row_group, column=column, cure=cure)


def is_callers_own(error: BaseException) -> bool:
    """Whether neither a reader nor a file system raised it, but code that ran in between, such as a signal handler."""
    frames = list(_frames(error))
    if not frames:
        return False
    if frames[-1][0] in _READERS:  # they give a number with it, unless it was thrown at them
        return type(error) in (TimeoutError, InterruptedError) and getattr(error, "errno", None) is None
    return "pyarrow" not in [package for package, _ in frames] or any(code in _handlers() for _, code in frames)


def _refuses(error: BaseException) -> bool:
    """Whether bytes were not to be had: the system gives a number, object stores their names, clients any error."""
    if next(reversed(list(_frames(error))), ("pyarrow",))[0] not in _READERS:
        return True
    return isinstance(error, OSError) and (error.errno is not None or _STORE.search(str(error)) is not None)


def _frames(error: BaseException) -> Iterator[tuple[str, CodeType]]:
    """Package and code of every frame the error came through, the innermost last."""
    trace = error.__traceback__
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0], trace.tb_frame.f_code
        trace = trace.tb_next


def _handlers() -> set[Any]:
    """The code of all signal handlers."""
    found = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # of a partial
        if callable(handler) and not hasattr(handler, "__code__") and not hasattr(handler, "__func__"):
            handler = getattr(handler, "__call__", handler)  # noqa: B004 -- its code is asked for
        found.add(getattr(getattr(handler, "__func__", handler), "__code__", None))
    return found - {None}
