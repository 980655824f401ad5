"""What threads keep between two calls, such as an open reader: each for itself, or all together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["Held", "PerThread", "Shared"]


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


@dataclass(frozen=True, eq=False)
class Held:
    """A value that lasts as long as a thread holds it."""

    value: Any


class Shared:
    """What is made once for all threads that ask for it, and goes when the last of them lets go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: WeakValueDictionary[Any, Held] = WeakValueDictionary()
        self._makers: dict[Any, threading.Lock] = {}

    def __reduce__(self) -> tuple[type[Shared], tuple[()]]:
        """For another process: empty."""
        return Shared, ()

    def get(self, key: Any, make: Callable[[], Any]) -> Held:
        """What ``make`` gives, which one thread at a time does for a key."""
        with self._lock:
            maker = self._makers.setdefault(key, threading.Lock())
        with maker:
            held = self._made.get(key)
            if held is None:
                held = Held(make())
                self._made[key] = held
            return held
