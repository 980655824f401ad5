"""Columns that ride along (groups, clusters, ids, what is kept or filtered by) in few Arrow types that all code knows.

Arrow has several types of the same values: text with offsets of 32 or 64 bits or with views, values in runs, types
with a name around others. Nobody but this file tells them apart.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from fastxent.base.errors import DataError

if TYPE_CHECKING:
    pass

__all__ = ["as_python", "check_values", "plain_column", "plain_type", "text_of"]


def plain_column(column: Any) -> Any:
    """An Arrow column as one array: a dictionary or plain values, text and bytes with offsets, nothing in runs.

    UUIDs become text, float16 float32; other named types become what they store.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind, test = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _stored(column)
    if test.is_run_end_encoded(kind):
        return plain_column(pc.run_end_decode(column))
    if test.is_dictionary(kind):
        values = plain_column(column.dictionary)
        if values.type == kind.value_type:
            return column
        return pa.DictionaryArray.from_arrays(column.indices, values)
    wanted = plain_type(kind)
    return column if wanted == kind else column.cast(wanted)


def plain_type(kind: Any) -> Any:
    """The type that `plain_column` gives a column of this one."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return pa.string() if kind.extension_name == "arrow.uuid" else plain_type(kind.storage_type)
    if pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, plain_type(kind.value_type), kind.ordered)
    other = {"string_view": pa.large_string(), "binary_view": pa.large_binary(), "halffloat": pa.float32()}
    return other.get(str(kind), kind)


def _stored(column: Any) -> Any:
    """The values of a named type."""
    import uuid

    import pyarrow as pa

    if column.type.extension_name != "arrow.uuid":
        return plain_column(column.storage)
    found = column.storage.to_pylist()
    return pa.array([None if value is None else str(uuid.UUID(bytes=value)) for value in found], pa.string())


def check_values(column: Any, name: str) -> None:
    """Raise DataError for text that is not UTF-8, and for times of a zone that is not known here."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        values = column.dictionary if pa.types.is_dictionary(column.type) else column
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raise DataError(f"column {name!r} holds text that is not UTF-8{_first_broken(values)}") from None
    if pa.types.is_timestamp(kind) and kind.tz is not None and not _is_known(kind.tz):
        raise DataError(
            f"column {name!r} holds times of the zone {kind.tz!r}, which is not known on this machine; "
            "install its time zones (tzdata), or write the times in UTC"
        )


def _first_broken(column: Any) -> str:
    import pyarrow as pa

    for value in column.cast(pa.large_binary()).to_pylist():
        try:
            (value or b"").decode()
        except UnicodeDecodeError:
            return f", such as {value[:40]!r}; write it as UTF-8, or as binary and leave the column out"
    return ""


@cache
def _is_known(zone: str) -> bool:
    """Whether both Arrow and Python can name the times of a zone."""
    import pyarrow as pa

    moment = pa.array([0], pa.timestamp("s", zone))
    try:
        moment.cast(pa.string())
        moment[0].as_py()
    except (pa.ArrowInvalid, ValueError):
        return False
    return True


def text_of(column: Any) -> Any:
    """The values of a plain column as text; None if its values have none."""
    import pyarrow as pa

    kind, test = column.type, pa.types
    if test.is_nested(kind) or test.is_binary(kind) or test.is_large_binary(kind) or test.is_fixed_size_binary(kind):
        return None
    try:
        return column.cast(pa.large_string() if test.is_large_string(kind) else pa.string())
    except pa.ArrowNotImplementedError:
        return None


def as_python(value: Any) -> Any:
    """An Arrow scalar as a value of Python; a time that Python's cannot hold (after the year 9999, say) as text."""
    import pyarrow as pa

    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return pa.scalar(value).cast(pa.string()).as_py() if pa.types.is_temporal(value.type) else str(value)
