"""Per-row results: every row once, in order, the right bits; whole files or none."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.engine.row_files import in_order
from fastxent.engine.row_files.in_order import InOrder
from fastxent.engine.row_files.record import read_record
from tests.shell import run

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"
DIGITS = str(DATA / "digits.parquet")
COLUMNS = {"logits": "logits", "target": "label"}


def bits(values):
    return np.asarray(values, np.float64).view(np.int64)


@pytest.fixture(scope="module")
def digits():
    return np.load(DATA / "digits_logits.npy"), np.load(DATA / "digits_labels.npy")


def big_file(path, copies=40):
    """Digits repeated, in row groups that make many splits when splits are small."""
    table = pq.read_table(DIGITS, columns=["id", "logits", "label"])
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(copies):
            writer.write_table(table)
    return str(path)


def test_every_row_once_in_order_with_the_bits_of_the_loss(tmp_path, digits):
    logits, labels = digits
    out = tmp_path / "rows.parquet"
    ev = fx.score(DIGITS, out, **COLUMNS, keep=["id", "ink"])
    rows, source = pq.read_table(out), pq.read_table(DIGITS)
    assert rows["id"].equals(source["id"])
    assert rows["ink"].equals(source["ink"])
    assert (bits(rows["loss"]) == bits(fx.cross_entropy(labels, logits=logits, reduction="none"))).all()
    assert rows["predicted"].to_numpy().tolist() == logits.argmax(axis=1).tolist()
    assert ((rows["rank"].to_numpy() == 0) == (rows["predicted"].to_numpy() == labels)).all()
    wide = logits.astype(np.float64)
    p = np.exp(wide - wide.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(rows["p_target"], p[np.arange(len(p)), labels], rtol=1e-13)
    np.testing.assert_allclose(rows["confidence"], p.max(axis=1), rtol=1e-13)
    assert set(rows["status"].to_pylist()) == {"scored"}
    assert ev.loss == fx.evaluate(DIGITS, **COLUMNS).loss
    assert os.listdir(tmp_path) == ["rows.parquet"]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing_not_even_the_bytes(tmp_path, threads, monkeypatch):
    monkeypatch.setattr("fastxent.engine.runners.threads.SMALL", 0)
    source = big_file(tmp_path / "in.parquet", 6)
    monkeypatch.setattr("fastxent.sources.parquet.source.LEAST_SPLIT_BYTES", 1)
    fx.score(source, tmp_path / "out.parquet", **COLUMNS, keep="id", threads=threads)
    fx.score(source, tmp_path / "one.parquet", **COLUMNS, keep="id", threads=1)
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    ids = pq.read_table(tmp_path / "out.parquet")["id"].to_numpy()
    assert (ids == np.tile(pq.read_table(DIGITS)["id"].to_numpy(), 6)).all()


def test_rows_that_are_not_scored_have_nulls_and_say_why(tmp_path):
    logits = np.array([[1, 0], [np.nan, 0], [1, 0], [np.inf, 0], [0, 1], [1, 2]], np.float32)
    target = [0, 0, -100, 0, 7, 1]
    out = tmp_path / "rows.parquet"
    ev = fx.score(None, out, target, logits=logits, ignore_index=-100, on_invalid="skip")
    rows = pq.read_table(out)
    assert rows["status"].to_pylist() == [
        "scored", "nan_prediction", "ignored", "infinite_logit", "label_out_of_range", "scored",
    ]  # fmt: skip
    for name in ("loss", "predicted", "confidence", "p_target", "rank"):
        assert [value is None for value in rows[name].to_pylist()] == [False, True, True, True, True, False], name
    assert ev.num_rows == 2
    with pytest.raises(fx.InvalidRowError, match="row 1"):
        fx.score(None, tmp_path / "other.parquet", target, logits=logits, ignore_index=-100)
    assert os.listdir(tmp_path) == ["rows.parquet"]


def test_class_names_are_written_beside_the_index(tmp_path):
    table = pa.table({"p_cat": np.float32([0.9, 0.2]), "p_dog": np.float32([0.1, 0.8]), "label": ["cat", "cat"]})
    fx.score(table, tmp_path / "o.parquet", "label", logits="p_*")
    rows = pq.read_table(tmp_path / "o.parquet")
    assert rows["predicted_name"].to_pylist() == ["cat", "dog"]


def test_target_and_predictions_may_be_kept(tmp_path):
    fx.score(DIGITS, tmp_path / "o.parquet", **COLUMNS, keep=["label", "logits"])
    rows, source = pq.read_table(tmp_path / "o.parquet"), pq.read_table(DIGITS)
    assert rows["label"].equals(source["label"])
    assert rows["logits"].to_pylist() == source["logits"].to_pylist()


def test_arrays_may_be_kept_by_name(tmp_path, digits):
    ids = np.arange(len(digits[0]))
    fx.score(None, tmp_path / "o.parquet", digits[1], logits=digits[0], keep={"id": ids})
    assert (pq.read_table(tmp_path / "o.parquet")["id"].to_numpy() == ids).all()
    with pytest.raises(fx.UsageError, match="arrays by name"):
        fx.score(None, tmp_path / "p.parquet", digits[1], logits=digits[0], keep="id")


def test_binary_rows(tmp_path):
    path = str(DATA / "breast_cancer.parquet")
    fx.score(path, tmp_path / "o.parquet", "label", logits="logit", task="binary")
    rows, source = pq.read_table(tmp_path / "o.parquet"), pq.read_table(path)
    loss = fx.binary_cross_entropy(source["label"].to_numpy(), logits=source["logit"].to_numpy(), reduction="none")
    assert (bits(rows["loss"]) == bits(loss)).all()
    assert (rows["predicted"].to_numpy() == (source["logit"].to_numpy() > 0)).all()


def test_a_kept_column_may_not_have_the_name_of_a_score_column(tmp_path):
    table = pa.table({"a": [0.9], "b": [0.1], "label": [0], "loss": [3]})
    with pytest.raises(fx.UsageError, match="prefix"):
        fx.score(table, tmp_path / "o.parquet", "label", probs=["a", "b"], keep="loss")
    fx.score(table, tmp_path / "o.parquet", "label", probs=["a", "b"], keep="loss", prefix="fx_")
    assert pq.read_table(tmp_path / "o.parquet")["loss"].to_pylist() == [3]


def test_no_rows_still_make_a_file_with_columns(tmp_path):
    pq.write_table(pq.read_table(DIGITS).slice(0, 0), tmp_path / "none.parquet")
    fx.score(str(tmp_path / "none.parquet"), tmp_path / "o.parquet", **COLUMNS, keep=["id", "ink"])
    rows = pq.read_table(tmp_path / "o.parquet")
    assert rows.num_rows == 0
    assert rows.schema.field("id").type == pa.int32()


def test_a_loss_without_scores(tmp_path):
    p = np.float32([[0.25, 0.75], [1.0, 0.0]])
    fx.score(None, tmp_path / "o.parquet", p, probs=p, loss="entropy")
    rows = pq.read_table(tmp_path / "o.parquet")
    assert rows.column_names == ["loss", "status"]
    assert (bits(rows["loss"]) == bits(fx.entropy(probs=p, reduction="none"))).all()


# Outputs that exist, inputs, folders that cannot be written


def test_an_existing_output_is_kept_unless_asked(tmp_path):
    out = tmp_path / "o.parquet"
    out.write_text("mine")
    with pytest.raises(fx.UsageError, match="exists already"):
        fx.score(DIGITS, out, **COLUMNS)
    assert out.read_text() == "mine"
    fx.score(DIGITS, out, **COLUMNS, overwrite=True)
    assert pq.read_metadata(out).num_rows == 1797


def test_an_input_is_never_replaced(tmp_path):
    source = tmp_path / "in" / "a.parquet"
    source.parent.mkdir()
    source.write_bytes(Path(DIGITS).read_bytes())
    link = tmp_path / "link.parquet"
    link.symlink_to(source)
    before = source.read_bytes()
    for out in (source, link):
        with pytest.raises(fx.UsageError, match="is an input"):
            fx.score(str(source), out, **COLUMNS, overwrite=True)
    for out in ("in/b.parquet", "in/sub/", "in/"):
        with pytest.raises(fx.UsageError, match="among the inputs"):
            fx.score(str(source.parent), str(tmp_path) + "/" + out, **COLUMNS, overwrite=True)
    with pytest.raises(fx.UsageError, match="among the inputs"):
        fx.score(str(source.parent / "*.parquet"), source.parent / "b.parquet", **COLUMNS)
    assert source.read_bytes() == before
    assert os.listdir(source.parent) == ["a.parquet"]


@pytest.mark.parametrize(
    ("out", "words"), [("missing/o.parquet", "folder does not exist"), ("file/o.parquet", "not a folder")]
)
def test_where_nothing_can_be_written(tmp_path, out, words):
    (tmp_path / "file").write_text("")
    with pytest.raises(fx.OutputError, match=words):
        fx.score(DIGITS, tmp_path / out, **COLUMNS)


def test_a_read_only_folder(tmp_path):
    if os.geteuid() == 0:
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("root may write everywhere")
        with pytest.raises(fx.OutputError, match="cannot be written"):
            fx.score(DIGITS, "/proc/rows.parquet", **COLUMNS)
        return
    tmp_path.chmod(0o500)
    with pytest.raises(fx.OutputError, match="permission denied"):
        fx.score(DIGITS, tmp_path / "o.parquet", **COLUMNS)


def test_two_runs_do_not_write_one_output(tmp_path):
    from fastxent.base.atomic_files import PendingFile

    first = PendingFile(tmp_path / "o.parquet")
    with pytest.raises(fx.UsageError, match="another run"):
        fx.score(DIGITS, tmp_path / "o.parquet", **COLUMNS)
    first.abort()
    fx.score(DIGITS, tmp_path / "o.parquet", **COLUMNS)


# A directory of outputs


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "in"
    for name in ("day=1/a", "day=2/a", "day=2/b"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        big_file(source / f"{name}.parquet", 1)
    return source


def run_folder(folder, **options):
    done = []
    ev = fx.score(
        str(folder),
        f"{folder.parent}/out/",
        **COLUMNS,
        keep=["id"],
        progress=lambda *told: done.append(told),
        **options,
    )
    assert not done or {total for _, total in done} == {sum(split.num_rows for split, _ in done)}
    return ev, {os.path.relpath(split.path, folder) for split, _ in done}


def test_a_directory_gets_one_file_for_each_and_goes_on_where_it_stopped(folder):
    out = folder.parent / "out"
    whole, done = run_folder(folder)
    assert done == {"day=1/a.parquet", "day=2/a.parquet", "day=2/b.parquet"}
    assert {str(p.relative_to(out)) for p in out.rglob("*.*")} == done
    again, done = run_folder(folder)
    assert done == set()
    assert again.totals.to_bytes() == whole.totals.to_bytes()
    (out / "day=2/b.parquet").unlink()
    os.utime(folder / "day=1/a.parquet", ns=(1, 1))
    again, done = run_folder(folder)
    assert done == {"day=1/a.parquet", "day=2/b.parquet"}
    assert again.totals.to_bytes() == whole.totals.to_bytes()
    _, done = run_folder(folder, resume=False)
    assert len(done) == 3


def test_a_directory_keeps_what_it_did_not_write(folder):
    out = folder.parent / "out"
    run_folder(folder)
    with pytest.raises(fx.UsageError, match="other options"):
        run_folder(folder, label_smoothing=0.1)
    (out / "day=1/a.parquet").write_bytes(Path(DIGITS).read_bytes())
    with pytest.raises(fx.UsageError, match="no output of fastxent"):
        run_folder(folder)
    _, done = run_folder(folder, overwrite=True)
    assert done == {"day=1/a.parquet"}


def test_an_error_leaves_the_finished_files_only(folder):
    table = pq.read_table(folder / "day=2/b.parquet")
    broken = pa.array([99] + [0] * (table.num_rows - 1), pa.int8())
    pq.write_table(table.set_column(2, "label", broken), folder / "day=2/b.parquet")
    with pytest.raises(fx.InvalidRowError, match=r"b\.parquet, row 0"):
        run_folder(folder, threads=1)
    out = folder.parent / "out"
    assert sorted(p.name for p in out.rglob("*.*")) == ["a.parquet", "a.parquet"]
    assert all(read_record(str(p)) for p in out.rglob("*.parquet"))


# The order of rows, and its bounds


class Steps:
    """An `InOrder` of steps that note their places."""

    def __init__(self):
        self.steps = InOrder()
        self.done = []

    def put(self, split, place=0, nbytes=100):
        self.steps.put(split, place, nbytes, lambda: self.done.append((split, place)))

    def beside(self, *step):
        """Put a step in a thread; returns it when it has ended, or had the time to."""
        thread = threading.Thread(target=self.put, args=step, daemon=True)
        thread.start()
        thread.join(0.05)
        return thread


def test_steps_are_done_in_order_whoever_brings_them():
    steps = Steps()
    steps.put(1, 1)
    steps.put(0, 1)
    steps.put(1, 0)
    steps.steps.end(1, 2)
    assert steps.done == []
    steps.put(0, 0)
    assert steps.done == [(0, 0), (0, 1)]
    steps.steps.end(0, 2)
    assert steps.done == [(0, 0), (0, 1), (1, 0), (1, 1)]
    steps.steps.end(2, 0)
    steps.put(3)
    assert steps.done[4:] == [(3, 0)]


def test_what_waits_is_bounded_and_the_step_in_turn_goes_on(monkeypatch):
    monkeypatch.setattr(in_order, "HELD_BYTES", 100)
    steps = Steps()
    steps.put(1, 0)
    blocked = steps.beside(1, 1)
    assert blocked.is_alive()
    steps.put(0, 0)
    assert steps.done == [(0, 0)]
    assert blocked.is_alive()
    steps.steps.end(0, 1)
    blocked.join(5)
    assert not blocked.is_alive()
    assert steps.done == [(0, 0), (1, 0), (1, 1)]


def test_a_thread_leaves_its_step_to_the_one_that_is_at_it():
    steps = Steps()
    at_it, go_on = threading.Event(), threading.Event()

    def long_step():
        at_it.set()
        go_on.wait(5)
        steps.done.append((0, 0))

    busy = threading.Thread(target=steps.steps.put, args=(0, 0, 100, long_step), daemon=True)
    busy.start()
    at_it.wait(5)
    assert not steps.beside(0, 1).is_alive()
    assert steps.done == []
    go_on.set()
    busy.join(5)
    assert steps.done == [(0, 0), (0, 1)]


def test_stopping_wakes_those_who_wait(monkeypatch):
    monkeypatch.setattr(in_order, "HELD_BYTES", 0)
    steps = Steps()
    waiting = steps.beside(1)
    assert waiting.is_alive()
    steps.steps.stop()
    waiting.join(5)
    assert not waiting.is_alive()
    steps.put(0)
    assert steps.done == []


def test_an_error_of_a_step_is_told_once_and_ends_it_all():
    steps = Steps()
    steps.put(0, 1)
    with pytest.raises(OSError, match="full"):
        steps.steps.put(0, 0, 100, lambda: (_ for _ in ()).throw(OSError("full")))
    steps.steps.end(0, 2)
    assert steps.done == []


# The shell, and processes that die

SLOW = """
import sys, time
from fastxent.engine.row_files.writer import RowSink
real = RowSink.write
def slow(self, piece, source):
    real(self, piece, source)
    print("wrote", flush=True)
    time.sleep(0.1)
RowSink.write = slow
from fastxent.cli.main import main
main()
"""


def start(*words, code=SLOW, **options):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **options)


@pytest.fixture(scope="module")
def many_batches(tmp_path_factory):
    return big_file(tmp_path_factory.mktemp("big") / "in.parquet", 60)


def interrupted(source, out, number):
    process = start("score", source, "-o", out, "--logits", "logits", "--target", "label")
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_far_it_got_and_leaves_nothing(tmp_path, many_batches, number):
    code, err = interrupted(many_batches, tmp_path / "o.parquet", number)
    assert code == 130
    last = err.strip().splitlines()
    assert len(last) == 1, err
    assert "interrupted after" in last[0]
    assert "107,820 rows" in last[0]
    assert "was not written" in last[0]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("threads", ["1", "2"])
def test_an_interrupted_run_into_a_directory_keeps_the_files_that_are_whole(folder, threads):
    out = folder.parent / "out"
    words = ("score", folder, "-o", f"{out}/", "--logits", "logits", "--target", "label", "--keep", "id")
    process = start(*words, "--threads", threads)
    while not list(out.rglob("a.parquet")):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    whole = sorted(str(p.relative_to(out)) for p in out.rglob("*.*"))
    assert all(read_record(str(out / name)) for name in whole)
    assert f"{len(whole)} of 3 files" in err
    _, done = run_folder(folder)
    assert len(done) == 3 - len(whole)
    assert not set(whole) & done


def test_a_killed_run_leaves_nothing_that_looks_whole_and_is_cleaned_up_by_the_next(tmp_path, many_batches):
    out = tmp_path / "o.parquet"
    code, _ = interrupted(many_batches, out, signal.SIGKILL)
    assert code == -signal.SIGKILL
    left = os.listdir(tmp_path)
    assert left == [".o.parquet.partial"]
    with pytest.raises((pa.ArrowInvalid, OSError)):
        pq.read_metadata(tmp_path / left[0])
    fx.score(many_batches, out, **COLUMNS)
    assert os.listdir(tmp_path) == ["o.parquet"]


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(tmp_path, many_batches):
    # The child limits itself: a function run between fork and exec is unsafe beside other threads.
    program = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from fastxent.cli.main import main
main()
"""
    env = os.environ | {"PYTHONPATH": str(ROOT), "FASTXENT_NUM_THREADS": "2"}
    command = [sys.executable, "-c", program, "score", many_batches]
    command += ["-o", str(tmp_path / "o.parquet"), "--logits", "logits", "--target", "label"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path):
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no permission to mount a tmpfs")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_file_system(tiny_disk, many_batches):
    with pytest.raises(fx.OutputError, match="disk is full"):
        fx.score(many_batches, tiny_disk / "o.parquet", **COLUMNS)
    assert os.listdir(tiny_disk) == []


def test_the_shell_command(tmp_path):
    out = tmp_path / "o.parquet"
    words = ["score", DIGITS, "-o", out, "--logits", "logits", "--target", "label", "--keep", "id,ink"]
    done = run(*words, "--json", "-")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"]["scored"] == 1797
    assert pq.read_schema(out).names[:3] == ["id", "ink", "loss"]
    done = run(*words)
    assert done.exit_code == 2
    assert "--overwrite" in done.stderr


def test_names_from_data_cannot_steer_the_terminal(tmp_path):
    evil = "a\x1b[2Jb\nc"
    pq.write_table(pa.table({evil: [[0.5, 0.5]], "label": [0]}), tmp_path / "x.parquet")
    done = run("inspect", tmp_path / "x.parquet")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    words = ("score", tmp_path / "x.parquet", "-o", tmp_path / "o.parquet", "--probs", "nothing", "--target", "label")
    done = run(*words)
    assert done.exit_code == 3
    assert "\x1b" not in done.output
    assert done.stderr.count("\n") == 1


def test_help_is_fast():
    started = time.perf_counter()
    helping = start("--help", code="from fastxent.cli.main import main; main()")
    assert "score" in helping.communicate(timeout=30)[0]
    assert time.perf_counter() - started < 5
    code = (
        "import sys; from fastxent.cli.main import cli; cli(['score', '--help'], standalone_mode=False); "
        "sys.exit('numba' in sys.modules or 'pyarrow' in sys.modules)"
    )
    loads = start(code=code)
    loads.communicate(timeout=30)
    assert loads.returncode == 0
