"""Record batches whose rows hold lists (the tokens of a document, say) -> a row for every element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastxent.base.errors import SourceError
from fastxent.data.plain_column import plain_column
from fastxent.sources.decode.labels import is_text
from fastxent.sources.decode.primitive import plain, validity
from fastxent.sources.decode.runs import extents, is_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PLACE", "flat_lists"]

#: The column with the place of an element in its list, from 0.
PLACE = "place in the list"


def flat_lists(batch: Any, name: str) -> Any:
    """The batch with a row for every element of the lists in a column; there is `PLACE` as well.

    Other columns of lists, which must be as long, go along element by element, all else is repeated. A null in place of
    a list is one row, a null; an empty list is none.

    Raises:
        SourceError: another list is longer or shorter.
    """
    lists = plain(batch.column(name))
    valid = validity(lists)
    lengths = extents(lists)[1] if valid is None else np.where(valid, extents(lists)[1], 1)
    parents = np.repeat(np.arange(batch.num_rows), lengths)
    places = np.arange(len(parents)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    columns = {}
    for other, column in zip(batch.schema.names, batch.columns, strict=True):
        column = plain_column(column)
        if is_list(column.type):
            columns[other] = _elements(column, lengths, parents, places)
        else:
            # A text is held once, however many elements it goes along with.
            once = pc.dictionary_encode(column) if is_text(column.type) and len(parents) > len(column) else column
            columns[other] = once.take(pa.array(parents))
    return pa.RecordBatch.from_pydict(columns | {PLACE: pa.array(places)})


def _elements(lists: Any, lengths: NDArray[np.int64], parents: NDArray[np.int64], places: NDArray[np.int64]) -> Any:
    """The elements of lists of these lengths; of a null so many nulls."""
    starts, own, child = extents(lists)
    valid = validity(lists)
    other = own != lengths if valid is None else (own != lengths) & valid
    if other.any():
        row = int(np.argmax(other))
        raise SourceError(f"a row holds {own[row]} values beside {lengths[row]} losses; write lists of one length")
    if valid is None and (starts[1:] == starts[:-1] + own[:-1]).all():
        return child.slice(int(starts[0]) if len(starts) else 0, len(parents))
    where = starts[parents] + places
    return child.take(pa.array(where, mask=None if valid is None else ~valid[parents]))
