"""What each thread keeps for itself between two calls, such as an open reader."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["PerThread"]


class PerThread(threading.local):
    """The last thing a thread has made, and the key it belongs to. In another process there is none."""

    key: Any = None
    value: Any = None

    def __reduce__(self) -> tuple[type[PerThread], tuple[()]]:
        """For another process: empty."""
        return PerThread, ()

    def keep(self, key: Any, value: Any) -> Any:
        """Keep ``value`` in place of the last one."""
        self.key, self.value = key, value
        return value

    def clear(self) -> None:
        """Let go of the last thing."""
        self.key = self.value = None
