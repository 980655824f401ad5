"""The kinds of numbers that predictions have, once for sources, storage and kernels.

bfloat16 has no NumPy and no Arrow type, and NumPy computes with float16 slowly: both travel as uint16 bit patterns.
Nothing is imported here, so that whoever only names a kind loads no NumPy.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

__all__ = ["KINDS", "PATTERNS", "Kind", "NumberKind", "as_floats", "item_bytes"]

Kind = Literal["float16", "bfloat16", "float32", "float64"]


class NumberKind(NamedTuple):
    """A kind of floating-point number.

    ``size``: bytes; ``carrier``: the NumPy type that such numbers travel as; ``arrow``: the Arrow type that stores
    them; ``epsilon``: the distance from 1 to the next number above; ``wider``: the kinds that hold all of its values.
    """

    size: int
    carrier: str
    arrow: str
    epsilon: float
    wider: tuple[str, ...]


KINDS: dict[str, NumberKind] = {
    "float16": NumberKind(2, "uint16", "float16", 2.0**-10, ("float16", "float32", "float64")),
    "bfloat16": NumberKind(2, "uint16", "uint16", 2.0**-7, ("bfloat16", "float32", "float64")),
    "float32": NumberKind(4, "float32", "float32", 2.0**-23, ("float32", "float64")),
    "float64": NumberKind(8, "float64", "float64", 2.0**-52, ("float64",)),
}
#: The kinds that travel as bit patterns.
PATTERNS = ("float16", "bfloat16")


def as_floats(values: Any, kind: str) -> Any:
    """An array of carriers as an array of the numbers they are, exactly: bfloat16 as float32, all else as a view."""
    if kind == "float16":
        return values.view("float16")
    if kind == "bfloat16":
        return (values.astype("uint32") << 16).view("float32")
    return values


def item_bytes(kind: str | None, otherwise: int) -> int:
    """The bytes of a number of a kind; ``otherwise`` where there is no such kind."""
    return KINDS[kind].size if kind in KINDS else otherwise
