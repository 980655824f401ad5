"""Outputs in an object store, where nothing can be renamed: each is put there whole, and a manifest at last."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

import fastxent as fx
from tests import runner_cases as cases
from tests.remote_server import BUCKET, s3_server
from tests.shell import run

SCORE = {"target": "y", "logits": "z", "keep": "id", "group_by": "country"}


@pytest.fixture(scope="module")
def server():
    """The port of a server of S3, and a client of it. Keys are found in the environment, by workers as well."""
    with s3_server() as (_, _, port), pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        client = fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True, region="us-east-1"
        )
        client.create_dir(BUCKET)
        yield port, client


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("remote") / "in")


@pytest.fixture
def uri(server):
    return lambda path: f"s3://{BUCKET}/{path}?endpoint_override=127.0.0.1:{server[0]}&scheme=http&region=us-east-1"


def names(server, path):
    found = server[1].get_file_info(fs.FileSelector(f"{BUCKET}/{path}", recursive=True, allow_not_found=True))
    return sorted(each.path.removeprefix(f"{BUCKET}/{path}/") for each in found if each.is_file)


def read(server, path):
    with server[1].open_input_file(f"{BUCKET}/{path}") as file:
        return file.readall()


@pytest.mark.parametrize("runner", [None, "processes:1"])
def test_a_folder_has_the_bytes_of_one_here(server, folder, uri, tmp_path, runner):
    where = f"scored/{runner}".replace(":", "")
    here = fx.score(str(folder), f"{tmp_path}/here/", threads=1, **SCORE)
    there = fx.score(str(folder), uri(f"{where}/"), runner=runner, **SCORE)
    assert there.totals.to_bytes() == here.totals.to_bytes()
    assert names(server, where) == sorted(path.name for path in (tmp_path / "here").iterdir())
    for name in names(server, where):
        assert read(server, f"{where}/{name}") == (tmp_path / "here" / name).read_bytes()
    again = fx.score(str(folder), uri(f"{where}/"), runner=runner, **SCORE)
    assert again.totals.to_bytes() == here.totals.to_bytes()
    assert again.run["bytes"] == 0  # everything was there
    assert fx.evaluate(uri(where), losses="loss").num_rows == 300  # the manifest is no data


def test_the_manifest_says_what_is_whole(server, folder, uri, tmp_path):
    fx.score(str(folder), uri("listed/"), **SCORE)
    said = json.loads(read(server, "listed/_manifest"))
    assert (said["rows"], len(said["job"])) == (300, 64)
    assert said["files"] == [
        {"file": f"{i:04}.parquet", "input": f"{folder}/{i:04}.parquet", "rows": 60} for i in range(cases.FILES)
    ]


def test_what_fails_leaves_whole_files_and_no_manifest(server, uri, tmp_path):
    """A run that goes on finds them; the manifest of a run before is gone until all are of this one."""
    folder = cases.write(tmp_path / "in")
    fx.score(str(folder), uri("failed/"), **SCORE)
    cases.spoil(folder, 3)
    with pytest.raises(fx.InvalidRowError):
        fx.score(str(folder), uri("failed/"), threads=1, **SCORE)
    assert "_manifest" not in names(server, "failed")
    for name in names(server, "failed"):
        assert pq.read_table(pa.BufferReader(read(server, f"failed/{name}"))).num_rows == 60
    ev = fx.score(str(folder), uri("failed/"), on_invalid="skip", overwrite=True, **SCORE)
    assert ev.num_rows == 299
    assert "_manifest" in names(server, "failed")


def test_an_upload_that_is_broken_off_leaves_nothing(server, folder, uri, monkeypatch):
    from fastxent.storage.place import PendingObject

    def put(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PendingObject, "_put", put)
    with pytest.raises(KeyboardInterrupt):
        fx.score(str(folder), uri("broken/"), threads=1, **SCORE)
    assert names(server, "broken") == []


def test_files_of_other_options_are_not_replaced(server, folder, uri):
    fx.score(str(folder), uri("kept/"), **SCORE)
    with pytest.raises(fx.UsageError, match=rf"^s3://{BUCKET}/kept/0000.parquet: exists and holds results of other"):
        fx.score(str(folder), uri("kept/"), label_smoothing=0.1, **SCORE)
    assert fx.score(str(folder), uri("kept"), **SCORE).run["bytes"] == 0  # it is there, so it is a folder


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv.gz"])
def test_one_file(server, folder, uri, tmp_path, name):
    here = fx.score(str(folder), tmp_path / name, **SCORE)
    assert fx.score(str(folder), uri(name), **SCORE).loss == here.loss
    assert read(server, name) == (tmp_path / name).read_bytes()
    with pytest.raises(fx.UsageError, match=rf"^s3://{BUCKET}/{name}: exists already; name another file, or"):
        fx.score(str(folder), uri(name), **SCORE)
    assert fx.score(str(folder), uri(name), overwrite=True, **SCORE).loss == here.loss


def test_outputs_beside_inputs(server, folder, uri):
    fx.convert(str(folder), uri("data/"), logits="z", target="y")
    assert fx.evaluate(uri("data/")).loss == fx.evaluate(str(folder), "y", logits="z").loss
    assert fx.score(uri("data/"), uri("out/"), "y").num_rows == 300
    with pytest.raises(fx.UsageError, match=rf"s3://{BUCKET}/data/0001.parquet: is an input; name another file"):
        fx.score(uri("data/0001.parquet"), uri("data/0001.parquet"), "y", overwrite=True)
    with pytest.raises(
        fx.UsageError, match=rf"s3://{BUCKET}/data/rows/: lies among the inputs \(s3://{BUCKET}/data/\)"
    ):
        fx.score(uri("data/"), uri("data/rows/"), "y")
    with pytest.raises(fx.UsageError, match=r"0000.parquet: is an input; name another directory"):
        fx.score(uri("data/*.parquet"), uri("data/"), "y", overwrite=True)


def test_the_shell(server, folder, uri):
    words = ("--logits", "z", "--target", "y", "--runner", "processes:1")
    told = run("score", folder, "-o", uri("shell/"), *words)
    assert told.exit_code == 0, told.output
    assert len(names(server, "shell")) == cases.FILES + 1
    told = run("score", folder, "-o", uri("shell/one.parquet"), *words)
    assert told.exit_code == 2
    assert f"s3://{BUCKET}/shell/one.parquet: --runner processes:1 writes an output for every input file" in told.stderr


def test_a_store_that_refuses(server, folder, uri):
    with pytest.raises(fx.OutputError, match=r"^s3://nowhere/rows/0000.parquet: cannot be written: .*NO_SUCH_BUCKET"):
        fx.score(str(folder), uri("rows/").replace(BUCKET, "nowhere"), threads=1, **SCORE)


def test_keys_in_an_address_are_not_shown(server, folder, uri, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    out = uri("keys/").replace("s3://", "s3://test:SECRET@")
    assert fx.score(str(folder), out, runner="processes:1", **SCORE).num_rows == 300
    with pytest.raises(fx.UsageError) as told:
        fx.score(str(folder), out, label_smoothing=0.1, **SCORE)
    assert "SECRET" not in str(told.value)
    assert b"SECRET" not in b"".join(read(server, f"keys/{name}") for name in names(server, "keys"))
