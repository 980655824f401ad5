"""Files that Spark and Hugging Face datasets wrote (tests/foreign): what lies around the scores in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign import values

import fastxent as fx
from tests.shell import run

FOLDER = Path(values.__file__).parent
SPARK, DATASETS = FOLDER / "spark", FOLDER / "huggingface"
LOSSES = fx.cross_entropy(values.labels(), logits=values.scores().astype(np.float32), reduction="none")


def mean(chosen):
    return fx.cross_entropy(
        values.labels()[chosen], logits=values.scores().astype(np.float32)[chosen], reduction="mean"
    )


def test_folders_named_by_spark_are_columns():
    """Among them names with spaces, slashes, percent signs and accents, and the null."""
    whole = fx.evaluate(SPARK / "partitions", logits="z", target="y", group_by="country")
    assert (whole.num_rows, whole.loss) == (values.ROWS, mean(slice(None)))
    found = {group["country"]: (group["count"], group["loss"]) for group in whole.groups.to_pylist()}
    expected = {}
    for country in values.COUNTRIES:
        chosen = np.array([each == country for each in values.countries()])
        expected[country] = (int(chosen.sum()), mean(chosen))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("country == 'a/b=c d%'", lambda country, day, i: country == "a/b=c d%"),
        ("country is null", lambda country, day, i: country is None),
        ("country != 'DE'", lambda country, day, i: country not in (None, "DE")),
        ("day >= '2024-01-02' and id < 20", lambda country, day, i: day == 2 and i < 20),
    ],
)
def test_filters_over_folders(text, chosen):
    rows = [i for i, country in enumerate(values.countries()) if chosen(country, 1 + i % 2, i)]
    found = fx.evaluate(SPARK / "partitions", logits="z", target="y", filter=text)
    assert (found.num_rows, found.loss) == (len(rows), mean(rows))


def test_rows_beside_their_ids(tmp_path):
    fx.score(SPARK / "partitions", tmp_path / "o.parquet", logits="z", target="y", keep=["id", "country", "day"])
    rows = pq.read_table(tmp_path / "o.parquet").sort_by("id")
    assert rows["id"].to_pylist() == list(range(values.ROWS))
    assert rows["country"].to_pylist() == values.countries()
    assert rows["loss"].to_numpy().tobytes() == LOSSES.tobytes()


def test_spark_writes_checksums_and_they_are_checked(tmp_path):
    """A flipped bit in a page of raw bytes is read without a murmur unless checksums are verified."""
    source = next((SPARK / "binary").glob("*.parquet"))
    raw = bytearray(source.read_bytes())
    column = pq.read_metadata(source).row_group(0).column(1)
    raw[column.data_page_offset + column.total_compressed_size - 9] ^= 1
    (tmp_path / "a.parquet").write_bytes(raw)
    options = {"logits": "z", "target": "y", "dtype": "float64"}
    wrong = fx.evaluate(tmp_path / "a.parquet", **options).loss
    assert wrong != fx.evaluate(source, **options).loss
    with pytest.raises(fx.SourceError, match=r"a\.parquet, row group 0, column 'z'.*CRC"):
        fx.evaluate(tmp_path / "a.parquet", **options, verify_checksums=True)


@pytest.mark.parametrize("name", ["sequence", "fixed"])
def test_class_names_in_the_metadata_of_datasets(name):
    found = fx.evaluate(DATASETS / f"{name}.parquet", logits="z", target="y")
    assert found.class_names == values.WORDS
    assert found.loss == mean(slice(None))


def test_labels_that_are_text_are_looked_up_in_the_metadata_of_datasets(tmp_path):
    table = pq.read_table(DATASETS / "fixed.parquet")
    words = pa.array([values.WORDS[i] for i in table["y"].to_pylist()])
    pq.write_table(table.set_column(1, "y", words), tmp_path / "a.parquet")
    assert fx.evaluate(tmp_path / "a.parquet", logits="z", target="y").loss == mean(slice(None))


def test_the_shell_reads_a_folder_of_spark_and_names_the_command(tmp_path):
    shutil.copytree(SPARK / "vector_sparse", tmp_path / "probability run")
    done = run("inspect", tmp_path / "probability run", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rows"], found["row_groups"], found["num_classes"]) == (values.ROWS, 1, values.CLASSES)
    assert "--target y" in found["commands"][0]
    done = run("evaluate", tmp_path / "probability run", "--logits", "z", "--target", "y", "--json", "-")
    expected = fx.cross_entropy(values.labels(), logits=values.sparse_scores())
    assert json.loads(done.stdout)["loss"]["mean"] == expected
