"""Coverage-guided fuzzing of what strangers write: footers, filters, gates and state files.

python -m tests.fuzzing [--seconds N] [--table FILE]    every target in a process of its own, N seconds each
python -m tests.fuzzing TARGET N                        one target; anything but an error of ours ends it
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import fastxent as fx

TABLE = pa.table({"p": [0.1, -0.2, 0.3, 1.0], "y": [0, 1, 0, 1], "g": ["a", "b", None, "c"], "t": [1, 2, 3, 4]})


def footer_seeds():
    for options in ({}, {"row_group_size": 2}, {"compression": "zstd", "write_page_checksum": True}):
        out = io.BytesIO()
        pq.write_table(TABLE.append_column("z", pa.array([[1.0, 2.0]] * 4)), out, **options)
        data = out.getvalue()
        yield data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


def footer(data):
    from fastxent.sources.pages.damage import Damage
    from fastxent.sources.pages.footer import parse_footer

    try:
        parsed = parse_footer(data, len(data) + 4096)
    except Damage:
        return
    assert sum(parsed.rows) >= 0
    framed = b"".join((b"PAR1", data, len(data).to_bytes(4, "little"), b"PAR1"))
    try:
        metadata = pq.ParquetFile(io.BytesIO(framed)).metadata
        for group in range(metadata.num_row_groups):
            str(metadata.row_group(group).column(0))
    except (pa.ArrowException, OSError, ValueError):
        pass


def filter_seeds():
    return [b"g == 'a' and t >= 2", b"not (p < 1e3 or g in ('a', \"b\")) and `y` is not null", b"t in (1, 2.5, -3)"]


def filter(data):
    from fastxent.sources.filter import Filter

    try:
        bound = Filter(data.decode("utf-8", "surrogateescape")).bind(TABLE.schema, {}, "table")
        assert len(bound.chosen(TABLE.combine_chunks().to_batches()[0])) <= len(TABLE)
    except (fx.UsageError, fx.SourceError):
        pass


def gate_seeds():
    return [b"loss > 0.35", b'groups.g."a b".accuracy < 0.9', b"accuracy <= 1e-3", b"per_class.1.f1 != 0"]


def gate(data):
    from fastxent.results.gates import failures, parse_gate

    try:
        failures((parse_gate(data.decode("utf-8", "surrogateescape")),), {"loss": 0.5, "groups": {"g": {"a b": {}}}})
    except fx.FastxentError:
        pass


def state_seeds():
    ev = fx.evaluate(TABLE, "y", logits="p", task="binary", group_by="g", worst=2, keep="g", cluster_by="t")
    return [ev.totals.to_bytes()[:-32], fx.evaluate(TABLE, "y", logits="p", task="binary").totals.to_bytes()[:-32]]


def state(data):
    try:
        totals = fx.Totals.from_bytes(data + hashlib.sha256(data).digest())
    except fx.StateError:
        return
    assert fx.Totals.from_bytes(totals.to_bytes()).to_bytes() == totals.to_bytes()


#: What is watched for new ways; compiled code is none of it.
INSTRUMENTED = [
    "fastxent.sources.filter", "fastxent.sources.filter_text", "fastxent.sources.pages", "fastxent.results.gates",
    "fastxent.totals", "fastxent.statistics", "fastxent.data.spec",
]  # fmt: skip
TARGETS = {
    "footer": (footer, footer_seeds), "filter": (filter, filter_seeds), "gate": (gate, gate_seeds),
    "state": (state, state_seeds),
}  # fmt: skip


def fuzz(name, seconds):
    """Run one target until the time is over; libFuzzer prints how many inputs it tried."""
    import atheris

    target, seeds = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="fastxent-fuzz-") as folder:
        with atheris.instrument_imports(include=INSTRUMENTED):  # what was imported before stays as it is
            for number, seed in enumerate(seeds()):
                Path(folder, str(number)).write_bytes(seed)
                target(seed)
        options = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=20", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", folder], target)
        atheris.Fuzz()


def main():
    """Fuzz every target; write the table of what was tried."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=15, help="of each target")
    parser.add_argument("--table", help="a Markdown file to write")
    given = parser.parse_args()
    lines, failed = ["| target | inputs tried | seconds | found |", "|---|---|---|---|"], []
    for name in TARGETS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzzing", name, str(given.seconds)], capture_output=True, text=True,
            check=False, timeout=given.seconds * 2 + 300,
        )  # fmt: skip
        tried = re.findall(r"number_of_executed_units:\s*(\d+)", done.stderr) or ["0"]
        found = "nothing" if done.returncode == 0 else "a failure"
        lines.append(f"| {name} | {int(tried[-1]):,} | {given.seconds} | {found} |")
        if done.returncode:
            failed.append(f"{name}:\n{done.stderr[-4000:]}")
    print("\n".join(lines))
    if given.table:
        head = "# Fuzzing\n\nWhat `make fuzz` tried last; the command wrote this file.\n\n"
        Path(given.table).write_text(head + "\n".join(lines) + "\n")
    for each in failed:
        print(each, file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in TARGETS:
        fuzz(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(main())
