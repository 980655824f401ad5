"""Coverage-guided fuzzing of what strangers write: footers, pages, filters, gates and state files.

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
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastxent as fx

#: What pages are compressed by.
_CODECS = ("NONE", "SNAPPY", "GZIP", "ZSTD", "LZ4_RAW")
TABLE = pa.table({"p": [0.1, -0.2, 0.3, 1.0], "y": [0, 1, 0, 1], "g": ["a", "b", None, "c"], "t": [1, 2, 3, 4]})


def footer_seeds():
    for options in ({}, {"row_group_size": 2}, {"compression": "zstd", "write_page_checksum": True}):
        out = io.BytesIO()
        pq.write_table(TABLE.append_column("z", pa.array([[1.0, 2.0]] * 4)), out, **options)
        data = out.getvalue()
        yield data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


def footer(data):
    """Footers are parsed or refused, and pyarrow survives what was not refused."""
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


def page_seeds():
    lists = pa.table({"z": [[1.0, 2.0]] * 40, "d": [[float(i % 3)] for i in range(40)], "y": list(range(40))})
    for codec in _CODECS:
        for version in ("1.0", "2.0"):
            out = io.BytesIO()
            pq.write_table(
                lists, out, compression=codec, data_page_version=version, use_dictionary=["d"], write_page_checksum=True
            )  # fmt: skip
            group = pq.ParquetFile(out).metadata.row_group(0)
            for i in range(3):
                column = group.column(i)
                start = column.dictionary_page_offset or column.data_page_offset
                chunk = out.getvalue()[start : start + column.total_compressed_size]
                yield bytes([_CODECS.index(codec), column.num_values]) + chunk


def page(data):
    """Pages, their levels and dictionaries end where their headers say, or are refused."""
    from fastxent.kernels.parquet import hybrid, page_header
    from fastxent.sources.pages.damage import Damage, Unusual
    from fastxent.sources.pages.footer import Chunk
    from fastxent.sources.pages.pages import read_pages

    if len(data) < 2:
        return
    codec, values, body = _CODECS[data[0] % len(_CODECS)], data[1], data[2:]
    chunk = Chunk("UNCOMPRESSED" if codec == "NONE" else codec, values, 0, len(body), 1 << 20, len(body), (), -1)

    def read_at(count, place):
        return body[place : place + count]

    try:
        for each in read_pages(read_at, chunk, 1 << 20, checksums=data[0] > 127):
            count, end, length = each.header[page_header.COUNT], len(each.body), 1 + data[1] % 5
            assert 0 <= count <= max(values, each.header[page_header.COUNT] if each.is_dictionary else 0)
            count, out = min(count, values), np.zeros(values)
            tops, zeros = hybrid.count_levels(each.body, 0, end, 2, count, 2)
            assert tops < 0 or 0 <= tops + zeros <= count
            assert hybrid.walk_lists(each.body, 0, end, count, length, 0) < length
            assert hybrid.take_entries(each.body, 0, end, count, np.arange(7.0), out) in (count, hybrid.MALFORMED)
            assert out.max(initial=0) < 7
            assert hybrid.sized_end(each.body, 0, end, count) <= end
            hybrid.lz4_size(each.body, 0, end)
    except (Damage, Unusual):
        pass


def filter_seeds():
    return [b"g == 'a' and t >= 2", b"not (p < 1e3 or g in ('a', \"b\")) and `y` is not null", b"t in (1, 2.5, -3)"]


def filter(data):
    """Filters choose rows of a table, or are refused."""
    from fastxent.sources.filter import Filter

    try:
        bound = Filter(data.decode("utf-8", "surrogateescape")).bind(TABLE.schema, {}, "table")
        assert len(bound.chosen(TABLE.combine_chunks().to_batches()[0])) <= len(TABLE)
    except (fx.UsageError, fx.SourceError):
        pass


def gate_seeds():
    return [b"loss > 0.35", b'groups.g."a b".accuracy < 0.9', b"accuracy <= 1e-3", b"per_class.1.f1 != 0"]


def gate(data):
    """Gates are judged, or refused."""
    from fastxent.results.gates import failures, parse_gate

    try:
        failures((parse_gate(data.decode("utf-8", "surrogateescape")),), {"loss": 0.5, "groups": {"g": {"a b": {}}}})
    except fx.FastxentError:
        pass


def states():
    """A small state, whose every byte may be changed, and larger ones, of which single numbers are."""
    from fastxent.statistics.options import Measures

    spec = fx.Spec.make(num_classes=1, task="binary", soft=False)
    plain = fx.Totals(spec, Measures(spread=False, scores=False))
    y = {"target": "y", "logits": "p", "task": "binary"}
    whole = fx.evaluate(TABLE, **y, group_by="g", worst=2, keep="g", cluster_by="t", units="t", statistics=["ranking"])
    classes = fx.evaluate(
        logits=[[1.0, 0.0, 2.0]] * 3 + [[0.0, 1.0, 0.5]],
        target=[0, 1, 2, 1],
        weight=[1, 2, 0.5, 3],
        statistics=["entropy", "temperature", "classwise"],
        worst_per_class=1,
        label_errors=1,
    )
    return plain.to_bytes(), [whole.totals.to_bytes(), classes.totals.to_bytes()]


def state_seeds():
    from tests.state_form import opened

    # By a process in which nothing is watched: watched code cannot be compiled, where no kernel is kept yet.
    code = "from tests.fuzzing import states; plain, larger = states(); print(*(s.hex() for s in (plain, *larger)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    plain, *larger = map(bytes.fromhex, told.split())
    _BASES[:] = map(opened, larger)
    return [
        b"\xff" + plain[:-32],
        *(bytes([i]) + bytes([way, part, 0, 0, 0, 1]) for i in range(2) for part in range(30) for way in (0, 1)),
    ]


#: Larger states, taken apart.
_BASES = []


def state(data):
    """State files with a checksum that fits are refused, or the one form of their numbers, which can be told."""
    from tests.state_form import sealed

    if data[:1] == b"\xff":
        whole = data[1:] + hashlib.sha256(data[1:]).digest()
    elif data:
        header, numbers, parts = _BASES[data[0] % len(_BASES)]
        numbers = numbers.copy()
        for way, part, high, low, exponent, value in zip(*(data[i::6] for i in range(1, 7)), strict=False):
            lo, hi = parts[part % len(parts)]
            used = lo + np.flatnonzero(numbers[lo:hi])
            at = used[(high << 8 | low) % len(used)] if len(used) else lo
            changed = ((value - 128) << exponent % 64) + (int(numbers[at]) if way % 2 else 0)
            numbers[at] = (changed + (1 << 63)) % (1 << 64) - (1 << 63)
        whole = sealed(header, numbers)
    else:
        return
    try:
        totals = fx.Totals.from_bytes(whole)
    except fx.StateError:
        return
    assert totals.to_bytes() == whole
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fx.DoubtWarning)
        fx.Evaluation(totals).to_dict()


#: What is watched for new ways; compiled code is none of it.
INSTRUMENTED = [
    "fastxent.sources.filter", "fastxent.sources.filter_text", "fastxent.sources.pages", "fastxent.kernels.parquet",
    "fastxent.results.gates", "fastxent.totals", "fastxent.statistics", "fastxent.data.spec",
]  # fmt: skip
TARGETS = {
    "footer": (footer, footer_seeds), "page": (page, page_seeds), "filter": (filter, filter_seeds),
    "gate": (gate, gate_seeds), "state": (state, state_seeds),
}  # fmt: skip


def fuzz(name, seconds):
    """Run one target until the time is over; libFuzzer prints how many inputs it tried."""
    import atheris

    target, seeds = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="fastxent-fuzz-") as folder:
        with atheris.instrument_imports(include=INSTRUMENTED):  # what was imported before stays as it is
            from fastxent.kernels.parquet import compiled

            compiled.compiled = lambda function: function  # machine code is not watched
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
    lines, failed = ["| target | what holds of every input | tried | seconds | found |", "|---|---|---|---|---|"], []
    for name in TARGETS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzzing", name, str(given.seconds)], capture_output=True, text=True,
            check=False, timeout=given.seconds * 2 + 300,
        )  # fmt: skip
        tried = re.findall(r"number_of_executed_units:\s*(\d+)", done.stderr) or ["0"]
        found = "nothing" if done.returncode == 0 else "a failure"
        holds = TARGETS[name][0].__doc__.removesuffix(".")
        lines.append(f"| {name} | {holds} | {int(tried[-1]):,} | {given.seconds} | {found} |")
        if done.returncode:
            failed.append(f"{name}:\n{done.stderr[-4000:]}")
    print("\n".join(lines))
    if given.table:
        head = (
            "# Fuzzing\n\nWhat `make fuzz` tried last, guided by coverage of the code that reads it; the command wrote "
            "this file. `SECONDS=720` (of each target) makes an hour.\n\n"
        )
        Path(given.table).write_text(head + "\n".join(lines) + "\n")
    for each in failed:
        print(each, file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in TARGETS:
        fuzz(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(main())
