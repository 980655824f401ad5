"""Filters: what the text means, that pruning changes nothing, and that rows keep their numbers."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from test_sources_arrays import drain

from fastxent import InvalidRowError, SourceError, UsageError
from fastxent.base.status import Status
from fastxent.data.spec import Spec
from fastxent.engine.invalid_rows import raise_first_invalid
from fastxent.sources import filter
from fastxent.sources.filter_text import parse
from fastxent.sources.open import Selection, open_source
from fastxent.totals.totals import Totals

N = 600
RNG = np.random.default_rng(5)
SCORES = RNG.normal(size=(N, 3)).astype(np.float32)
ROW = np.arange(N)
COUNTRY = np.array(["DE", "FR", "it's"])[RNG.integers(0, 3, N)]
X = np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(size=N))
SCORE = pa.array([None if i % 7 == 0 else i % 5 for i in range(N)])
DAY = pa.array([datetime.date(2024, 1, 1) + datetime.timedelta(days=int(i) // 10) for i in range(N)])
TABLE = pa.table({
    "z": pa.FixedSizeListArray.from_arrays(pa.array(SCORES.ravel()), 3), "y": ROW % 3, "row": ROW, "country": COUNTRY,
    "x": X, "score": SCORE, "day": DAY, "good": ROW % 2 == 0, "odd name": ROW // 100,
})  # fmt: skip
Z = Selection(("z",), "y", extra=("row",))
SMALL = np.array([v if v is not None else -1 for v in SCORE.to_pylist()])

CASES = {
    "country == 'DE'": COUNTRY == "DE",
    'country = "it\'s" and row >= 50': (COUNTRY == "it's") & (ROW >= 50),
    "country != 'it''s'": COUNTRY != "it's",
    "country in ('DE', 'FR') and not (row < 100 or row > 520)": (COUNTRY != "it's") & (ROW >= 100) & (ROW <= 520),
    "country not in ('DE')": COUNTRY != "DE",
    "row < 3": ROW < 3,
    "299 <= row AND row <= 301": (ROW >= 299) & (ROW <= 301),
    "row > 1e6": ROW < 0,
    "score is null": ROW % 7 == 0,
    "score is not null and score = 2": SMALL == 2,
    "score != 2": (SMALL != 2) & (SMALL != -1),
    "not score == 2": (SMALL != 2) & (SMALL != -1),
    "x > 0.25": X > 0.25,
    "not x < 0.25": ~(X < 0.25),
    "x <> x": np.isnan(X),
    "day >= '2024-02-01'": ROW >= 310,
    "good": ROW % 2 == 0,
    "good == false or row in (0, 2, 4)": (ROW % 2 == 1) | np.isin(ROW, [0, 2, 4]),
    "`odd name` == 4": ROW // 100 == 4,
    "row >= 0": ROW >= 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filter")
    pq.write_table(TABLE, folder / "a.parquet", row_group_size=100)
    pyarrow.feather.write_feather(TABLE, folder / "a.arrow", chunksize=100, compression="uncompressed")
    return folder


def rows_of(source):
    batches = [batch for split in source.splits() for batch in source.read(split)]
    ids = [batch.first_id + i for batch in batches for i in range(batch.num_rows)]
    assert ids == list(range(len(ids)))
    found = [np.asarray(batch.extra["row"]) for batch in batches] or [ROW[:0]]
    for batch, row in zip(batches, found, strict=False):
        assert [batch.number_of(i) for i in range(batch.num_rows)] == row.tolist()
        np.testing.assert_array_equal(batch.predictions.values, SCORES[row])
    if source.num_rows >= 0:
        assert sum(split.num_rows for split in source.splits()) == source.num_rows == len(ids)
    return np.concatenate(found)


@pytest.mark.parametrize("text", CASES)
def test_filters_as_text(files, text):
    expected = ROW[CASES[text]]
    for data in (files / "a.parquet", files / "a.arrow", TABLE, TABLE.to_reader(max_chunksize=70)):
        np.testing.assert_array_equal(rows_of(open_source(data, Z, filter=text)), expected)


def test_filters_as_expressions(files):
    expression = (pc.field("country") == "DE") & (pc.field("odd name") > 2)
    wanted = ROW[(COUNTRY == "DE") & (ROW >= 300)]
    np.testing.assert_array_equal(rows_of(open_source(files / "a.parquet", Z, filter=expression)), wanted)
    with pytest.raises(SourceError, match="nowhere"):
        open_source(files / "a.parquet", Z, filter=pc.field("nowhere") == 1)


def test_statistics_spare_row_groups(files, monkeypatch):
    looked = []
    original = filter.BoundFilter._chosen
    monkeypatch.setattr(filter.BoundFilter, "_chosen", lambda self, batch: looked.append(1) or original(self, batch))
    source = open_source(files / "a.parquet", Z, filter="row >= 250 and row < 260")
    assert source.stored == {str(files / "a.parquet"): N}
    assert len(looked) == 1
    assert len(source.splits()) == 1
    looked.clear()
    assert len(rows_of(source)) == 10
    assert len(looked) == 1


def test_partitions(tmp_path):
    for year in (2023, 2024):
        for country in ("DE", "a=b"):
            folder = tmp_path / f"year={year}" / f"country={country.replace('=', '%3D')}"
            folder.mkdir(parents=True)
            pq.write_table(TABLE.drop_columns(["country"]), folder / "p.parquet", row_group_size=100)
    source = open_source(tmp_path, Z, filter="country == 'DE' and year >= 2024")
    assert source.num_rows == N
    assert list(source.stored.values()) == [N] * 4
    assert {split.path for split in source.splits()} == {str(tmp_path / "year=2024" / "country=DE" / "p.parquet")}
    np.testing.assert_array_equal(drain(source)[0], SCORES)
    assert open_source(tmp_path, Z, filter="(country = 'a=b' or row < 10) and year = 2023").num_rows == N + 10
    assert open_source(tmp_path, Z, filter="year in (2020, 2021)").num_rows == 0


def test_an_invalid_row_is_named_by_its_number_in_the_file(tmp_path):
    scores = SCORES.copy()
    scores[417] = np.nan
    table = TABLE.set_column(0, "z", pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), 3))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    source = open_source(tmp_path, Z, filter="row in (3, 410, 417, 500)")
    batch = [batch for split in source.splits() for batch in source.read(split)][1]
    assert (batch.first_row, batch.numbers.tolist()) == (1, [410, 417])

    totals = Totals(Spec.make(num_classes=3))
    totals.tallies.rows[Status.NAN_PREDICTION], totals.tallies.first[Status.NAN_PREDICTION] = 1, 2
    with pytest.raises(InvalidRowError, match="row 417"):
        raise_first_invalid(totals, batch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x ==", "expected a value, got 'the end'"), ("x = 1 y = 2", "expected 'and', 'or' or the end, got 'y'"),
        ("1 == 2", "expected a column"), ("x in ()", "expected 'value'"), ("__import__('os')", "expected 'and', 'or'"),
        ("x == 'open", "cannot read"), ("(" * 500 + "x" + ")" * 500, "levels"), ("", "expected a column"),
        ("x is 5", "expected 'null'"), ("not", "expected a column"), ("row; drop", "cannot read"),
    ],
)  # fmt: skip
def test_texts_that_are_no_filters(text, message):
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_columns_that_do_not_fit(files):
    with pytest.raises(SourceError, match="Did you mean 'country'"):
        open_source(files / "a.parquet", Z, filter="contry == 'DE'")
    for text in ("row == 'DE'", "country == 3", "good > 1", "day > 'soon'", "row", "z == 1"):
        with pytest.raises(UsageError, match="filter"):
            open_source(files / "a.parquet", Z, filter=text)
    with pytest.raises(UsageError, match="filter needs columns"):
        open_source("a.npy", Selection((), "b.npy"), filter="x")
    with pytest.raises(UsageError, match="text or a pyarrow expression"):
        open_source(files / "a.parquet", Z, filter=7)
