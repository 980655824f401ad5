"""A number that a statistic says of every owner of rows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Field"]


@dataclass(frozen=True, slots=True)
class Field:
    """A number that a statistic says of every owner.

    Attributes:
        name: of the column of groups, of the attribute and (but where a section of the dictionary says otherwise) of
            the key in JSON.
        title: in words, for tables and headlines.
        power: of the unit of losses that the number is in: 1 for a loss, 2 for a variance, 0 for a number without.
        headline: whether the number has a line of its own among the headline numbers, unless its statistic writes them.
        kind: float, or int for a count.
        share: whether the number is a share, which is shown in percent.
        narrow: whether it is shown of groups where there is no room for all columns.
        bounded: whether cells bound it: surely it is from ``name``_low to ``name``_high.
    """

    name: str
    title: str = ""
    power: int = 0
    headline: bool = False
    kind: type = float
    share: bool = False
    narrow: bool = False
    bounded: bool = False
