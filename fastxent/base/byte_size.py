"""Sizes in bytes, as numbers or in words."""

from __future__ import annotations

import operator
import re
from typing import Any

from fastxent.base.errors import UsageError

__all__ = ["byte_size", "size_text"]

_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
#: Text that says less has most likely lost its unit.
_LEAST = 1 << 20


def byte_size(value: Any, name: str = "memory") -> int:
    """The bytes that a number, or text such as "512M" or "4GiB" (units of 1024), stands for.

    >>> byte_size("1.5G")
    1610612736

    Raises:
        UsageError: it is no size, less than a byte, or text for less than 1M.
    """
    if isinstance(value, str):
        match = _TEXT.fullmatch(value.strip())
        if not match:
            raise UsageError(f"{name}: {value!r} is no size; write 512M or 4G")
        size = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
        if size < _LEAST:
            raise UsageError(f"{name}: {value!r} is below 1M; write the unit, as in 512M")
        return size
    try:
        size = operator.index(value)
    except TypeError:
        raise UsageError(f"{name}: expected bytes or text such as '512M', got {value!r}") from None
    if isinstance(value, bool) or size < 1:
        raise UsageError(f"{name}: expected at least one byte, got {value!r}")
    return size


def size_text(count: int) -> str:
    """Bytes in a unit that people read: 1.25 MB."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}" if units[0] != "B" else f"{count} B"
