"""A checksum of the footer, in the footer: files that fastxent writes show any change of what they say of themselves.

The value under the key ``fastxent.checksum`` is the size of the file, the size of the footer, and the SHA-256 of the
footer's bytes with that value left blank. A program that rewrites a file may carry the key along; the sizes then belong
to another file, and nothing is checked.
"""

from __future__ import annotations

import hashlib
import re

from fastxent.sources.pages.damage import Damage

__all__ = ["BLANK", "CHECKSUM_KEY", "check_footer_checksum", "checksum_of"]

CHECKSUM_KEY = "fastxent.checksum"
_VALUE = re.compile(rb"[0-9]{20} [0-9]{10} [0-9a-f]{64}")
#: What stands in place of the checksum while it is not known.
BLANK = f"{0:020d} {0:010d} {'0' * 64}"


def checksum_of(data: bytes, size: int) -> tuple[bytes, int] | None:
    """The value that belongs into a footer (of a file of ``size`` bytes), and its place; None if it has no such key."""
    key = data.rfind(CHECKSUM_KEY.encode())
    found = _VALUE.search(data, key, key + 200) if key >= 0 else None
    if found is None:
        return None
    blank = data[: found.start()] + BLANK.encode() + data[found.end() :]
    value = f"{size:020d} {len(data):010d} {hashlib.sha256(blank).hexdigest()}"
    return value.encode(), found.start()


def check_footer_checksum(data: bytes, size: int) -> None:
    """Raise `Damage` if the footer holds a checksum made for it that is not its own."""
    made = checksum_of(data, size)
    if made is None:
        return
    value, at = made
    stored = data[at : at + len(value)]
    if stored[:31] == value[:31] and stored != value:
        raise Damage("its footer is not what was written: its checksum differs")
