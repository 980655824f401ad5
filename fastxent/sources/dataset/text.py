"""Text as record batches: CSV, TSV and JSON lines, also compressed, through pyarrow's streaming readers.

Types are those of the first block, but that numbers which are read as scores or weights are float64 whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from fastxent.base.errors import SourceError
from fastxent.sources.dataset.files import TEXT_SUFFIXES, DataFile
from fastxent.sources.dataset.footer import Footer
from fastxent.sources.read_errors import check_damage, first_line

__all__ = ["read_text_footer", "text_batches", "with_floats"]

#: Bytes of text that are parsed at a time. A row has to fit into them.
BLOCK_BYTES = 4 << 20
#: What stands for no value. pyarrow's own list has "nan" too, which is a number that somebody computed.
NULLS = ["", "NA", "N/A", "null", "NULL"]

#: Where pyarrow says in which row it failed: of CSV within the file, of JSON within the block.
_FILE_ROW = re.compile(r"Row #(\d+): ")
_BLOCK_ROW = re.compile(r" in row (\d+)$")


def read_text_footer(file: DataFile) -> Footer:
    """What the first block of a file says: its columns. The number of rows is not known before all are read.

    Raises:
        SourceError: it cannot be reached, or is no such text.
    """
    with _Guard(file, 0):
        return Footer(_open(file, None, None).schema, ())


def text_batches(file: DataFile, columns: tuple[str, ...], kinds: Mapping[str, Any]) -> Iterator[Any]:
    """The record batches of a file: some of its columns, with the types that are known.

    Raises:
        SourceError: the text is not what its beginning promised; says in which row.
    """
    rows = 0
    with _Guard(file, rows):
        batches = iter(_open(file, columns, kinds))
    while True:
        with _Guard(file, rows):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch.select(columns)
        rows += batch.num_rows


def with_floats(schema: Any, names: Iterable[str], others: Collection[str | None] = ()) -> Any:
    """The schema with columns of numbers (by name or glob, but for ``others``) as float64, whatever a block shows."""
    globs = tuple(names)
    return pa.schema(
        field.with_type(_float(field.type))
        if field.name not in others and any(field.name == each or fnmatchcase(field.name, each) for each in globs)
        else field
        for field in schema
    )


def _float(kind: Any) -> Any:
    """The same type with float64 in place of all that is none: what is no number is found in its row."""
    if pa.types.is_list(kind):
        return pa.list_(_float(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_float(field.type)) for field in kind])
    return kind if pa.types.is_floating(kind) else pa.float64()


class _Guard:
    """What the reader of a file says becomes a `SourceError`."""

    def __init__(self, file: DataFile, rows: int) -> None:
        self._file = file
        self._rows = rows

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Exception):
            check_damage(error, self._file.name)
            text = first_line(error)
            of_file, of_block = _FILE_ROW.search(text), _BLOCK_ROW.search(text)
            where = ""
            if of_file is not None:  # the header is row 1
                text, where = _FILE_ROW.sub("", text), f"row {int(of_file[1]) - 2:,} (from 0) "
            elif of_block is not None:
                text, where = _BLOCK_ROW.sub("", text), f"row {self._rows + int(of_block[1]):,} (from 0) "
            raise SourceError(f"{where}cannot be read as text: {text}", path=self._file.name) from error


def _open(file: DataFile, columns: tuple[str, ...] | None, kinds: Mapping[str, Any] | None) -> Any:
    """Pyarrow's reader of a file."""
    name = file.location.lower()
    suffix = next(each for each in TEXT_SUFFIXES if name.endswith(each))
    stream = file.open()
    for ending, codec in ((".gz", "gzip"), (".zst", "zstd")):
        if suffix.endswith(ending):
            stream = pa.CompressedInputStream(stream, codec)
    if suffix.startswith((".csv", ".tsv")):
        return _open_separated(stream, "," if suffix.startswith(".csv") else "\t", columns, kinds)
    import pyarrow.json

    schema = None if kinds is None else pa.schema(list(kinds.items()))
    return pyarrow.json.open_json(
        stream,
        pyarrow.json.ReadOptions(block_size=BLOCK_BYTES),
        pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="infer" if kinds is None else "ignore"
        ),
    )


def _open_separated(stream: Any, sign: str, columns: tuple[str, ...] | None, kinds: Mapping[str, Any] | None) -> Any:
    import pyarrow.csv

    return pyarrow.csv.open_csv(
        stream,
        pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),  # so that errors name the row
        pyarrow.csv.ParseOptions(delimiter=sign, newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            include_columns=columns, column_types=dict(kinds or {}), null_values=NULLS, strings_can_be_null=False
        ),
    )
