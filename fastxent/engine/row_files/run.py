"""A run that makes per-row results: a table, one file, or a file for every input that is not finished yet."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.engine.options import Progress
from fastxent.engine.plan import Plan, Scored, merge
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.file_work import FileWork
from fastxent.engine.row_files.record import MANIFEST, manifest_of, read_record, totals_of
from fastxent.engine.row_files.score_file import OrderedRows, RowFile, score_files
from fastxent.engine.row_files.writer import RowTable
from fastxent.engine.run import run
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.runner import Runner
from fastxent.engine.runners.threads import Threads
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.source import Source, Split
from fastxent.storage.output_paths import inside, outputs_of
from fastxent.storage.place import Place, shown
from fastxent.totals.totals import Totals

__all__ = ["RowRun"]


class RowRun:
    """One run, and how far it has come.

    Args:
        plan: what is scored.
        columns: the columns of the outputs.
        job: digest of what is done (`fastxent.engine.row_files.record.job_digest`).
        runner: who scores.
        progress: called with every finished split and the number of rows to do.
    """

    def __init__(self, plan: Plan, columns: RowColumns, job: str, runner: Runner, progress: Progress | None) -> None:
        self._plan = plan
        self._columns = columns
        self._job = job
        self._runner = runner
        self._progress = progress
        self._lock = threading.Lock()
        self._to_do = self._whole = 0
        self.rows = self.nbytes = 0  #: of the splits that have been scored

    def as_table(self) -> tuple[Any, Scored]:
        """All rows as an Arrow table, which takes threads; and what they left behind."""
        threads = self._threads("out_path")
        rows = RowTable(self._columns)
        self._to_do = self._plan.source.num_rows
        scored = on_threads.run(self._plan, threads.readers, rows=OrderedRows(self._columns, rows), done=self._count)
        rows.finish({}, self._plan.source.paths)
        return rows.table, scored

    def into_file(self, out: str, overwrite: bool) -> Scored:
        """Write all rows into one file, which takes threads."""
        self._threads(out)
        try:
            return self._score([RowFile(out, self._plan.splits, None, self._job, overwrite=overwrite)])
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{self._how_far()}; {shown(out)} was not written") from None

    def into_folder(self, out: str, data: Any, overwrite: bool, resume: bool) -> Scored:
        """Write a file for every input; with ``resume`` none that is there and right, whose totals are added."""
        inputs = _inputs(data, self._plan.source)
        outputs = outputs_of(self._plan.source.paths, data, out)
        identities = {path: _identity(inputs[path]) for path in outputs}  # before anything is read
        splits: dict[str, list[Split]] = {path: [] for path in outputs}
        for split in self._plan.splits:
            splits[split.path].append(split)
        begins = {path: own[0].first_id - own[0].first_row if own else 0 for path, own in splits.items()}
        finished = _finished(outputs, identities, self._job, overwrite, resume, begins)
        files = [
            RowFile(output, tuple(splits[path]), path, self._job, begins[path], identities[path], overwrite=True)
            for path, output in outputs.items()
            if path not in finished
        ]
        manifest = Place.of(inside(out, MANIFEST))
        if files:
            manifest.remove()
        try:
            scored = self._score(files)
        except KeyboardInterrupt:
            whole = f"{len(finished) + self._whole} of {len(outputs)} files in {shown(out)} are whole"
            raise KeyboardInterrupt(f"{self._how_far()}; {whole}, run it again to go on") from None
        rows = {path: int(totals.tallies.rows.sum()) for path, totals in finished.items()}
        rows |= {note["input"]: note["rows"] for note in map(json.loads, scored.rows)}
        begin = len(shown(out).rstrip("/")) + 1
        manifest.write(manifest_of(self._job, {path: (shown(outputs[path])[begin:], rows[path]) for path in outputs}))
        return merge([scored, *map(Scored, finished.values())])

    def _threads(self, out: str) -> Threads:
        """The runner, which has to be threads of this process for rows that all go to one place."""
        if not isinstance(self._runner, Threads):
            said = f"{shown(out)}: runner={self._runner.name!r} writes an output for every input file"
            raise UsageError(f"{said}, so name a directory (one that exists, or a path that ends in a slash)")
        return self._runner

    def _score(self, files: list[RowFile]) -> Scored:
        counts = [split.num_rows for file in files for split in file.splits]
        self._to_do = sum(counts) if min(counts, default=0) >= 0 else -1
        if isinstance(self._runner, Threads):
            count = self._runner.readers
            return score_files(self._plan, self._columns, files, count, done=self._count, whole=self._count_file)

        def done(number: int) -> None:
            for split in files[number].splits:
                self._count(split)
            self._count_file(files[number])

        notes: list[bytes] = []
        work = FileWork(self._plan, self._columns, tuple(files))
        return replace(run(work, self._runner, done=done, take=notes.append), rows=tuple(notes))

    def _count(self, split: Split) -> None:
        with self._lock:
            self.rows += max(split.num_rows, 0)
            self.nbytes += max(split.nbytes, 0)
        if self._progress is not None:
            self._progress(split, self._to_do)

    def _count_file(self, file: RowFile) -> None:
        with self._lock:
            self._whole += 1

    def _how_far(self) -> str:
        rows = self._plan.source.num_rows
        known = f" of {rows:,}" if rows >= 0 else ""
        return f"interrupted after {self.rows:,}{known} rows"


def _inputs(data: Any, source: Source) -> dict[str, DataFile]:
    """The input files by name."""
    if data is None or not source.files:
        raise UsageError(
            "a directory as output gets a file for every input file, and the input is no file; name a file"
        )
    return {file.name: file for file in source.files}


def _identity(file: DataFile) -> dict[str, Any]:
    """What tells whether an input has changed."""
    if file.filesystem is None:
        found = os.stat(file.location)
        return {"name": os.path.basename(file.location), "size": found.st_size, "mtime_ns": found.st_mtime_ns}
    info = file.filesystem.get_file_info(file.location)
    return {"name": info.base_name, "size": info.size, "mtime_ns": info.mtime_ns}


def _finished(
    outputs: Mapping[str, str],
    identities: Mapping[str, Any],
    job: str,
    overwrite: bool,
    resume: bool,
    begins: Mapping[str, int],
) -> dict[str, Totals]:
    """Totals of the inputs whose outputs are there and right; refuses to replace what is not of this job."""
    found = {}
    for path, output in outputs.items():
        place = Place.of(output)
        if not place.exists():
            continue
        record = read_record(output)
        same = record is not None and record.get("job") == job
        if not same and not overwrite:
            what = "holds results of other options" if record else "is no output of fastxent"
            raise UsageError(
                f"{place.name}: exists and {what}; write elsewhere, or pass overwrite=True (--overwrite) to replace it"
            )
        if record is None or not same or not resume:
            continue
        if record.get("input") == identities[path] and record.get("left_out") == 0:
            found[path] = totals_of(record, place.name)
            found[path].shift(begins.get(path, 0) - record["first_id"])  # files may have come or gone before it
    return found
