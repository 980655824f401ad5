"""What a statistic is: integers that rows leave behind with their owners, and what they say of every owner.

An owner is a group of rows, or all of them. A statistic is written for any number of owners at once, and all rows are
one owner, so that a group's numbers are those of its rows alone.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law
from fastxent.statistics.options import Measures, Readings
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.row_keeper import RowKeeper
from fastxent.statistics.table import Cells, Layout

__all__ = ["Statistic", "predicts_class"]


class Statistic(ABC):
    """A statistic under a spec. A new one is a subclass in a file of its own, and a line in the registry.

    Rows leave behind exact sums (`values`), sums of integer cells by place (`layouts`, `place`) and single rows
    (`keepers`). `read` turns those of G owners into arrays of G numbers.
    """

    #: The word for it in Python, the shell and JSON.
    name: ClassVar[str]

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """The statistic, if it applies and is asked for; raises UsageError where it is asked for and does not apply."""
        return None

    def sums(self) -> dict[str, int]:
        """Its exact sums, beside those that every run gathers: the power of the weight that is in each, by name."""
        return {}

    def values(self, record: Record) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """What the rows of a record add to exact sums: 0 where a row was not scored."""
        return iter(())

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """Tables by name: those of all rows (``alone``), without what the tallies hold already, or those of groups."""
        return {}

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, NDArray[np.int64], NDArray[np.int64]]]:
        """Rows for a table: (an index of the record's rows or None for all, places, cells); places below 0 are none."""
        return iter(())

    def fill(self, name: str, record: Record, table: NDArray[np.int64], band: int) -> NDArray[np.bool_] | None:
        """Add rows, all of one owner, to its dense table in one pass, as they would be placed; None where not.

        Returns which rows are left to be placed: those with weights of another ``band`` (see `Layout.banded`).
        """
        return None

    def tallied(self, name: str, tallies: Tallies) -> Cells | None:
        """The cells that all rows have in a table which groups have too, read off the tallies."""
        return None

    def keepers(self) -> dict[str, RowKeeper]:
        """Empty keepers of single rows, by name."""
        return {}

    def check(self, options: Readings) -> None:  # noqa: B027
        """Raise UsageError for what could not be read, before anything is gathered."""

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """What `read` says, in the order of columns."""
        return ()

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """The fields of all owners: from integers, rounded once. NaN where merged cells cannot answer."""
        return {}

    def section(self, reading: Reading) -> dict[str, Any]:
        """What it adds to the dictionary of an evaluation; by default every field under its name."""
        return {each.name: reading.number(each.name) for each in self.fields(reading)}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """Lines of the summary: a name and a value; by default those fields that are headlines."""
        for each in self.fields(reading):
            if each.headline:
                yield each.title, f"{reading.number(each.name):.6g}"

    def laws(self, reading: Reading) -> Iterator[Law]:
        """What the sums that it gathers obey, whatever the data are: for files that say they are sums of some."""
        return iter(())

    def note(self, table: str, level: int) -> str:
        """What groups do not say where a table had to put places together."""
        return ""


def predicts_class(spec: Spec) -> bool:
    """Whether rows have one target class, one predicted class and a confidence in it."""
    return spec.task != "multilabel" and spec.definition.predicts_class
