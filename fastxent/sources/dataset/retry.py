"""Trying again when a file cannot be reached for the moment: what counts as such, how often, how long in between.

Only what the network (or a network file system) does is tried again. Damage is not: it would be there again.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fastxent.sources.object_kinds import library
from fastxent.sources.read_errors import is_callers_own

__all__ = ["ATTEMPTS", "Attempts", "call", "is_transient"]

T = TypeVar("T")

#: How often a thing is tried in all.
ATTEMPTS = 4
#: Seconds before the second attempt; twice as long before each further one.
FIRST_PAUSE = 0.05

_ERRNOS = frozenset(
    getattr(errno, name, None)
    for name in (
        "EAGAIN", "EINTR", "ETIMEDOUT", "ESTALE", "EREMOTEIO", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED", "EPIPE",
        "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH",
    )
) - {None}  # fmt: skip

#: What the clients of S3, Google and Azure in Arrow say of a server or network that is away for the moment.
_AWAY = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT"
    r"|REQUEST_TIME_TOO_SKEWED|CLIENT_.*TIMEOUT)"
    r"|HTTP (status|response)( code)?:? ?(408|425|429|5\d\d)|curlCode: \d+|SlowDown|Reduce your request rate"
    r"|google::cloud::Status\((UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|RESOURCE_EXHAUSTED|ABORTED)"
    r"|Azure Error: .*(ServerBusy|OperationTimedOut|InternalError)"
    r"|[Cc]onnection (reset|refused|closed|timed out|aborted)|\b[Tt]imed? ?out\b"
)
#: HTTP clients of Python, as file systems through fsspec use them. Not all of their errors are OSErrors.
_CLIENTS = frozenset(("aiohttp", "botocore", "httpx", "huggingface_hub", "requests", "urllib3"))


def is_transient(error: BaseException, remote: bool) -> bool:
    """Whether the same call may go well in a moment."""
    if is_callers_own(error):
        return False
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    if not remote:
        return False
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if library(error) in _CLIENTS:
        status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status", None)
        return not isinstance(status, int) or status in (408, 425, 429) or status >= 500
    return isinstance(error, OSError) and error.errno is None and _AWAY.search(str(error)) is not None


class Attempts:
    """Counts the attempts at one thing, and waits between them."""

    def __init__(self, remote: bool) -> None:
        self._remote = remote
        self.made = 1

    def again(self, error: BaseException) -> bool:
        """Whether to try once more after ``error``; if so the pause is over on return."""
        if self.made >= ATTEMPTS or not is_transient(error, self._remote):
            return False
        time.sleep(FIRST_PAUSE * 2 ** (self.made - 1))
        self.made += 1
        return True


def call(action: Callable[[], T], remote: bool, before_again: Callable[[], Any] | None = None) -> T:
    """The result of ``action``, called again (after ``before_again``) while its errors are transient."""
    attempts = Attempts(remote)
    while True:
        try:
            return action()
        except Exception as error:
            if not attempts.again(error):
                if attempts.made > 1:
                    error.add_note(f"{attempts.made} attempts")
                raise
            if before_again is not None:
                before_again()
