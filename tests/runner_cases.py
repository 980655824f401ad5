"""What every runner is held to: the bits of one machine, whatever is asked for, and errors that say the same."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent import Spec
from fastxent.engine.plan import Plan, plan_of
from fastxent.sources.open import Selection, Source, Split, open_source
from fastxent.statistics.options import Measures

CLASSES, FILES, ROWS, GROUP = 4, 5, 60, 20
GATHERED = {"group_by": "country", "worst": 5, "keep": "id", "label_errors": 3, "statistics": "entropy"}


def table(first: int, rows: int = ROWS, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng([seed, first])
    scores = rng.normal(scale=3, size=(rows, CLASSES)).astype(np.float32)
    ids = np.arange(first, first + rows)
    return pa.table({
        "z": pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), CLASSES), "y": ids * 7 % CLASSES,
        "id": ids, "country": np.array(["DE", "FR", "IT"])[ids % 3],
    })  # fmt: skip


def write(folder: Path, files: int = FILES, rows: int = ROWS, seed: int = 0) -> Path:
    """A folder of Parquet files."""
    folder.mkdir()
    for i in range(files):
        pq.write_table(table(i * rows, rows, seed), folder / f"{i:04}.parquet", row_group_size=GROUP)
    return folder


def spoil(folder: Path, number: int) -> Path:
    """A file with a label that is no class."""
    path = folder / f"{number:04}.parquet"
    rows = pq.read_table(path)
    labels = rows["y"].to_numpy().copy()
    labels[7] = CLASSES
    pq.write_table(rows.set_column(1, "y", pa.array(labels)), path, row_group_size=GROUP)
    return path


def evaluate(folder: Path, **options: Any) -> fx.Evaluation:
    return fx.evaluate(str(folder), "y", logits="z", **GATHERED, **options)


def check_evaluate(folder: Path, runner: Any) -> None:
    told = []
    one = evaluate(folder, threads=1)
    there = evaluate(folder, runner=runner, progress=lambda split, rows: told.append((split.path, split.lo, rows)))
    assert there.totals.to_bytes() == one.totals.to_bytes()
    assert len(told) == len(set(told)) == FILES
    assert {rows for _, _, rows in told} == {FILES * ROWS}
    kept = [{key: value for key, value in ev.to_dict().items() if key != "run"} for ev in (one, there)]
    assert kept[0] == kept[1]


def check_score(folder: Path, out: Path, runner: Any) -> None:
    one = fx.score(str(folder), f"{out}/one/", "y", logits="z", keep="id", group_by="country", threads=1)
    there = fx.score(str(folder), f"{out}/there/", "y", logits="z", keep="id", group_by="country", runner=runner)
    assert there.totals.to_bytes() == one.totals.to_bytes()
    names = sorted(path.name for path in (out / "one").iterdir())
    assert names == sorted(path.name for path in (out / "there").iterdir())
    assert len([name for name in names if name.endswith(".parquet")]) == FILES
    for name in names:
        assert (out / "there" / name).read_bytes() == (out / "one" / name).read_bytes()
    again = fx.score(str(folder), f"{out}/there/", "y", logits="z", keep="id", group_by="country", runner=runner)
    assert again.totals.to_bytes() == one.totals.to_bytes()
    assert again.run["bytes"] == 0  # everything was there


def check_compare(folder: Path, other: Path, runner: Any) -> None:
    options = {"on": "id", "group_by": "country", "k": 3, "permutations": 20, "weight": "id"}
    one = fx.compare(str(folder), str(other), "y", logits="z", threads=1, **options)
    there = fx.compare(str(folder), str(other), "y", logits="z", runner=runner, **options)
    kept = [{key: value for key, value in c.to_dict().items() if key != "run"} for c in (one, there)]
    assert kept[0] == kept[1]


def check_error(folder: Path, runner: Any) -> None:
    """The earliest of two bad rows is raised, as on one machine."""
    spoil(folder, 3)
    path = spoil(folder, 1)
    with pytest.raises(fx.InvalidRowError) as here:
        evaluate(folder, threads=1)
    with pytest.raises(fx.InvalidRowError) as there:
        evaluate(folder, runner=runner)
    assert str(there.value) == str(here.value)
    assert (there.value.path, there.value.row) == (str(path), 7)


class Faulty(Source):
    """A source whose first reads of some splits go wrong; how often is counted in files of a folder.

    Args:
        source: what is read.
        folder: where reads are counted, over all processes.
        faults: number of a split -> how many reads of it go wrong, and how: "kill", or an error to raise.
    """

    travels = True

    def __init__(self, source: Source, folder: Path, faults: dict[int, tuple[int, Any]]) -> None:
        self.source, self.folder, self.faults = source, folder, faults
        for name in ("num_classes", "num_rows", "paths", "files", "class_names", "dense_target", "batches_last"):
            setattr(self, name, getattr(source, name))

    def splits(self) -> Sequence[Split]:
        return self.source.splits()

    def read(self, split: Split) -> Iterator[Any]:
        (self.folder / f"{split.id}-{uuid.uuid4().hex}").touch()
        count, how = self.faults.get(split.id, (0, None))
        if self.reads(split.id) <= count:
            if how == "kill executor":
                kill_above("CoarseGrainedExecutorBackend")
            if how in ("kill", "kill executor"):
                os.kill(os.getpid(), signal.SIGKILL)
            raise how
        return self.source.read(split)

    def reads(self, number: int) -> int:
        """How often reading a split was begun."""
        return len(list(self.folder.glob(f"{number}-*")))


def kill_above(command: str) -> None:
    """Kill the process above this one whose command line has this word."""
    pid = os.getpid()
    while command not in (words := Path(f"/proc/{pid}/cmdline").read_text()):
        assert pid > 1, words
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)


def plan(folder: Path, counts: Path, faults: dict[int, tuple[int, Any]]) -> Plan:
    """A plan over the files of a folder whose source goes wrong."""
    source = open_source(str(folder), Selection(("z",), "y", extra=("id", "country")))
    counts.mkdir()
    measures = Measures(group_by=("country",), worst=5, keep=("id",))
    return plan_of(Faulty(source, counts, faults), Spec.make(num_classes=CLASSES), measures)


def check_many(folder: Path, runner: Any) -> None:
    """2,000 small splits."""
    write(folder, files=2000, rows=2)
    one = fx.evaluate(str(folder), "y", logits="z", group_by="country")
    there = fx.evaluate(str(folder), "y", logits="z", group_by="country", runner=runner)
    assert there.totals.to_bytes() == one.totals.to_bytes()
    assert len(one.totals.to_bytes()) > 0
