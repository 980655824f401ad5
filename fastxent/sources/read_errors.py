"""What damaged files raise in pyarrow."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["DAMAGE", "first_line"]

#: Everything that pyarrow raises on damaged files: a flipped bit may ask for more memory than there is.
DAMAGE = (
    pa.ArrowException, OSError, ValueError, LookupError, OverflowError, RuntimeError, MemoryError, TypeError,
)  # fmt: skip


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without the full stop."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0].rstrip(".")
