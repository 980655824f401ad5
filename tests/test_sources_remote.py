"""Remote files: S3 by pyarrow's own client against a server on loopback, with failures."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from remote_server import BUCKET, s3_server
from test_sources_arrays import drain
from test_sources_parquet import LABELS, LAYOUTS, SCORES, N

import fastxent as fx
from fastxent import SourceError, UsageError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.dataset import Dataset, list_files
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.retry import ATTEMPTS, is_transient
from fastxent.sources.open import Selection, open_source
from fastxent.sources.parquet.source import ParquetSource

Z = Selection(("z",), "y")
TABLE = pa.table({"z": LAYOUTS["list"], "y": LABELS, "row": np.arange(N)})
GROUP = 100


@pytest.fixture(scope="module")
def server():
    with s3_server() as (port, faults, behind), pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        once, direct = (
            fs.S3FileSystem(
                endpoint_override=f"127.0.0.1:{each}", scheme="http", allow_bucket_creation=True, region="us-east-1",
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
            )
            for each in (port, behind)
        )  # fmt: skip
        direct.create_dir(BUCKET)
        for day in (1, 2):
            pq.write_table(TABLE, f"{BUCKET}/run/day={day}/part-0.parquet", row_group_size=GROUP, filesystem=direct)
        pq.write_table(TABLE, f"{BUCKET}/run/_tmp/part-9.parquet", filesystem=direct)
        with direct.open_output_stream(f"{BUCKET}/one.arrow") as out:
            pyarrow.feather.write_feather(TABLE, out, chunksize=GROUP, compression="zstd")
        with direct.open_output_stream(f"{BUCKET}/run/_SUCCESS") as out:
            out.write(b"")
        yield port, faults, once, direct


@pytest.fixture(autouse=True)
def calm(server, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    server[1].reset()


def uri(server, path):
    return f"s3://{BUCKET}/{path}?endpoint_override=127.0.0.1:{server[0]}&scheme=http&region=us-east-1"


def one_try(server, path="run/day=1/part-0.parquet"):
    """The file through a client that does not try again on its own, so that all tries are ours."""
    location = f"{BUCKET}/{path}"
    return DataFile(f"s3://{location}", location, server[2])


@pytest.mark.parametrize(
    ("path", "copies"),
    [
        ("run/day=1/part-0.parquet", 1), ("run", 2), ("run/", 2), ("run/day=*/part-*.parquet", 2),
        ("run/**/*.parquet", 2),
        ("run/day=[2-9]/*.parquet", 1), ("run/day=[!2]", 1), ("one.arrow", 1), ("*.arrow", 1),
    ],
)  # fmt: skip
def test_files_directories_and_globs(server, path, copies):
    source = open_source(uri(server, path), Z)
    scores, targets, _ = drain(source)
    np.testing.assert_array_equal(scores, np.concatenate([SCORES] * copies))
    np.testing.assert_array_equal(targets, np.tile(LABELS, copies))
    assert all(name.startswith(f"s3://{BUCKET}/") for name in source.paths)


def test_every_command_takes_an_address_with_options(server, tmp_path, monkeypatch):
    """The endpoint stands in the query only, and the network fails once at every step."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    expected = fx.cross_entropy(np.tile(LABELS, 2), logits=np.concatenate([SCORES] * 2))
    server[1].reset("part-0", 1, "drop")
    assert fx.evaluate(uri(server, "run"), "y", logits="z").loss == expected
    server[1].reset("part-0", 1, "500")
    assert fx.score(uri(server, "run"), f"{tmp_path}/rows/", "y", logits="z").loss == expected
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")) == [
        f"rows/day={day}/part-0.parquet" for day in (1, 2)
    ]
    server[1].reset("part-0", 1, "drop")
    done = fx.convert(uri(server, "run"), f"{tmp_path}/copy/", logits="z", target="y")
    assert (done.files, done.rows) == (2, 2 * N)
    assert fx.evaluate(tmp_path / "copy").loss == expected
    assert fx.inspect(uri(server, "run")).description.num_rows == 2 * N


def test_endpoint_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server[0]}")
    files = list_files([f"s3://{BUCKET}/run/day=2/part-0.parquet", f"s3://{BUCKET}/run"])
    assert [file.name for file in files] == [f"s3://{BUCKET}/run/day={day}/part-0.parquet" for day in (1, 2)]
    source = pickle.loads(pickle.dumps(open_source(f"s3://{BUCKET}/run", Selection(("z",), "y", extra=("day",)))))
    days = [day for split in source.splits() for batch in source.read(split) for day in batch.extra["day"].to_pylist()]
    assert days == [1] * N + [2] * N


def test_nothing_there(server):
    with pytest.raises(SourceError, match="no such file"):
        open_source(uri(server, "run/day=7"), Z)
    with pytest.raises(SourceError, match="no file matches"):
        open_source(uri(server, "run/*/x.parquet"), Z)
    with pytest.raises(UsageError, match="must be local"):
        open_source(f"s3://{BUCKET}/a.npy", Z)
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match=r"huggingface_hub|fsspec"):
            open_source("hf://datasets/a/b.parquet", Z)


def test_google_and_azure_addresses_are_understood():
    with pytest.raises(SourceError, match="cannot be reached"):
        open_source("gs://anonymous@b/a.parquet?scheme=http&endpoint_override=127.0.0.1:1&retry_limit_seconds=1", Z)
    with pytest.raises(SourceError, match="cannot be reached"):
        open_source("abfs://container@account/a.parquet?tls_ca_file_path=", Z)


@pytest.mark.parametrize("how", ["drop", "500", "503", "429", "short"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_passing_failures_lose_and_double_no_row(server, how, after):
    server[1].reset("part-0", ATTEMPTS - 1, how, after=after)
    source = ParquetSource(Dataset([one_try(server)]), Selection(("z",), "y", extra=("row",)), batch_bytes=700)
    rows = [row for split in source.splits() for batch in source.read(split) for row in batch.extra["row"].to_pylist()]
    assert rows == list(range(N))
    assert server[1].made > 0


def test_a_row_group_read_half_goes_on_where_it_stopped(server):
    """In pieces, so that the network fails when some batches have been handed out."""
    rng = np.random.default_rng(0)
    table = pa.table({"p": rng.normal(size=400_000), "y": np.zeros(400_000, np.int8), "row": np.arange(400_000)})
    path = f"{BUCKET}/big/part.parquet"
    pq.write_table(table, path, row_group_size=400_000, filesystem=server[3], compression="none")
    source = ParquetSource(
        Dataset([one_try(server, "big/part.parquet")]), Selection(("p",), "y", task="binary", extra=("row",)),
        memory=12 << 20, batch_bytes=512 << 10,
    )  # fmt: skip
    seen, failed = [], 0
    for batch in source.read(source.splits()[0]):
        seen.append(np.asarray(batch.extra["row"]))
        if len(seen) in (3, 9):
            failed += server[1].made
            server[1].reset("big", 2, "drop")
    assert failed + server[1].made == 4
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(400_000))
    # With so little memory that the columns go into a temporary file one after the other, which is then begun again.
    source = ParquetSource(
        Dataset([one_try(server, "big/part.parquet")]),
        Selection(("p",), "y", task="binary", extra=("row",)),
        memory=2 << 20,
    )
    server[1].reset("big", 2, "drop", after=6)
    batches = [batch for batch in source.read(source.splits()[0]) if batch.num_rows]
    assert server[1].made == 2
    np.testing.assert_array_equal(np.concatenate([batch.extra["row"] for batch in batches]), np.arange(400_000))


@pytest.mark.parametrize("how", ["drop", "500"])
def test_lasting_failures_name_the_object(server, how):
    source = ParquetSource(Dataset([one_try(server)]), Z)
    server[1].reset("part-0", 10_000, how)
    name = f"s3://{BUCKET}/run/day=1/part-0.parquet"
    with pytest.raises(SourceError, match=f"{name}, row group 0: .*{ATTEMPTS} attempts"):
        drain(source)
    assert server[1].made <= 4 * ATTEMPTS
    with pytest.raises(SourceError, match=rf"part-0.parquet: cannot be reached, after {ATTEMPTS} attempts"):
        ParquetSource(Dataset([one_try(server)]), Z)


def test_refusals_are_not_tried_again(server):
    server[1].reset("part-0", 10_000, "403", method="HEAD")
    with pytest.raises(SourceError, match="ACCESS_DENIED"):
        open_source(uri(server, "run/day=1/part-0.parquet"), Z)
    assert server[1].made <= 2


def test_arrow_files_are_tried_again(server):
    server[1].reset("one.arrow", ATTEMPTS - 1, "drop")
    from fastxent.sources.arrow.source import open_ipc

    source = open_ipc(Dataset([one_try(server, "one.arrow")]), Z)
    server[1].reset("one.arrow", ATTEMPTS - 1, "500")
    np.testing.assert_array_equal(drain(source)[0], SCORES)
    assert server[1].made == ATTEMPTS - 1


def test_damage_is_not_tried_again(server):
    location = f"{BUCKET}/bad/part.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, row_group_size=GROUP, compression="zstd")
    data = bytearray(sink.getvalue().to_pybytes())
    data[4:40] = bytes([255] * 36)
    with server[3].open_output_stream(location) as out:
        out.write(bytes(data))
    counted = threading.Event()
    original = retry.Attempts.again

    def again(self, error):
        result = original(self, error)
        if result:
            counted.set()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry.Attempts, "again", again)
        with pytest.raises(SourceError, match=r"bad/part\.parquet, row group 0.*damaged"):
            drain(open_source(uri(server, "bad/part.parquet"), Selection(("z",), "y", class_names=tuple("abcd"))))
    assert not counted.is_set()


def test_objects_that_change_are_noticed(server):
    location = f"{BUCKET}/changing/part.parquet"
    pq.write_table(TABLE, location, filesystem=server[3])
    source = open_source(uri(server, "changing/part.parquet"), Z)
    pq.write_table(TABLE.slice(0, 50), location, filesystem=server[3])
    with pytest.raises(SourceError, match="has changed since"):
        drain(source)


def test_what_counts_as_passing():
    passing = [
        OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 18"),
        OSError("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation"),
        OSError("AWS Error SLOW_DOWN during GetObject operation: Reduce your request rate"),
        OSError("google::cloud::Status(UNAVAILABLE: Retry policy exhausted"),
        ConnectionResetError(104, "reset"), TimeoutError("read timed out"),
    ]  # fmt: skip
    lasting = [
        OSError("AWS Error ACCESS_DENIED during HeadObject operation"), FileNotFoundError(2, "gone"),
        OSError("Couldn't deserialize thrift: TProtocolException: Invalid data"), PermissionError(13, "no"),
        OSError("could not verify page integrity, CRC checksum verification failed for page_ordinal 0"),
        OSError("ZSTD decompression failed: Data corruption detected"),
        pa.ArrowInvalid("Parquet magic bytes not found"),
    ]  # fmt: skip
    assert all(is_transient(error, True) for error in passing)
    assert not any(is_transient(error, True) for error in lasting)
    assert not is_transient(passing[0], False)
    assert is_transient(OSError(116, "stale file handle"), False)


@pytest.mark.parametrize(("path", "selection"), [("run", Z), ("one.arrow", Z)])
def test_a_copy_elsewhere_fetches_for_itself(server, path, selection):
    source = open_source(uri(server, path), selection)
    assert source.travels
    copy = pickle.loads(pickle.dumps(source))
    for one, other in zip(drain(copy), drain(source), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("options", [{"logits": "z_*", "target": "y"}, {"logits": "z_*"}])
def test_an_object_is_opened_once(server, options):
    """A request lists it, one opens it, one asks whether it has changed; one is for its footer, one a row group."""
    table = pa.table({f"z_{j}": SCORES[:, j] for j in range(4)} | {"y": LABELS})
    pq.write_table(table, f"{BUCKET}/once/part-0.parquet", row_group_size=GROUP, filesystem=server[3])
    server[1].reset()
    fx.evaluate(uri(server, "once/part-0.parquet"), **options)
    seen = [method for method, path in server[1].seen if path.endswith("part-0.parquet")]
    assert (seen.count("HEAD"), seen.count("GET")) == (3, 1 + -(-N // GROUP))
