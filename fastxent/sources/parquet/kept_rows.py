"""How many rows of each row group a filter keeps: its columns alone are read, where statistics allow for such rows."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import and_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fastxent.base.errors import SourceError
from fastxent.sources.dataset.footer import INT96, Footer
from fastxent.sources.filter import BoundFilter
from fastxent.sources.parquet.row_groups import ReadPlan, RowGroups
from fastxent.sources.read_errors import check_damage
from fastxent.sources.skipped import LeftOuts

__all__ = ["count_kept"]

#: Rows of the filter's columns that are looked at at a time.
COUNT_ROWS = 1 << 16
#: Bytes of these, before compression.
COUNT_BYTES = 4 << 20


def count_kept(
    filter: BoundFilter, plan: ReadPlan, footer: Footer, groups: RowGroups, left_out: LeftOuts
) -> tuple[int, ...]:
    """The number of rows of each row group that ``filter`` keeps; 0 of one that cannot be read and is left out."""
    if filter.keeps_all is not None:
        return footer.rows if filter.keeps_all else (0,) * len(footer.rows)
    possible = _possible(filter, groups.dataset.open_files.get(plan.file), plan.file.name, footer.schema)
    plan = replace(plan, columns=filter.columns)
    counts = [0] * len(footer.rows)
    for group, rows in enumerate(footer.rows):
        if rows and (possible is None or group in possible):
            step = min(COUNT_ROWS, COUNT_BYTES * rows // _stored_bytes(footer, group, filter.columns))
            batches = groups.batches(replace(plan, rows=max(1, step)), group)
            try:
                counts[group] = sum(filter.count(batch) for batch in batches if batch.num_rows)
            except SourceError as error:
                left_out.add(error, None)
    return tuple(counts)


def _stored_bytes(footer: Footer, group: int, columns: tuple[str, ...]) -> int:
    """The bytes of some columns of a row group before compression, 1 at least."""
    parquet = footer.parquet
    assert parquet is not None
    leaves = [leaf for name in columns for leaf in parquet.leaves_of[name]]
    return max(1, sum(parquet.chunk(group, leaf).stored_bytes for leaf in leaves))


def _possible(filter: BoundFilter, file: Any, path: str, schema: Any) -> set[int] | None:
    """The row groups that may hold such rows, by their statistics; None for all.

    Statistics say nothing of NaNs, so with columns of floats every row group is looked at.
    """
    if any(pa.types.is_floating(schema.field(name).type) for name in filter.columns):
        return None
    import pyarrow.dataset as ds

    try:
        known = [pc.field(name) == value for name, value in filter.constants.items() if value.is_valid]
        fragment = ds.ParquetFileFormat(ds.ParquetReadOptions(coerce_int96_timestamp_unit=INT96)).make_fragment(
            file, partition_expression=reduce(and_, known) if known else None
        )
        whole = pa.schema(
            [field for field in schema if field.name in filter.columns]
            + [pa.field(name, value.type) for name, value in filter.constants.items()]
        )
        return {group.id for group in fragment.subset(filter=filter.expression, schema=whole).row_groups}
    except Exception as error:
        check_damage(error, path)
        return None  # damage is told where the rows are read
