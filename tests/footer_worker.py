"""Run as a process: evaluates files whose footers were damaged, and prints how many were refused, and how many read.

python footer_worker.py FOLDER flip KIND          every single bit of the footer of one kind of file
python footer_worker.py FOLDER mutate FIRST LAST  footers with several bytes changed, of all kinds
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastxent as fx
from fastxent.kernels.parquet.compiled import use_compiled

N, C = 24, 3
SECONDS = 20
RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.normal(size=(N, C)).astype(np.float32), RNG.integers(0, C, N)
LISTS = pa.ListArray.from_arrays(pa.array(np.arange(N + 1) * C, pa.int32()), pa.array(SCORES.ravel()))
LIST = pa.table({"z": LISTS, "target": LABELS})
WIDE = pa.table({f"z{j}": SCORES[:, j] for j in range(C)} | {"target": pa.array(LABELS.astype(np.int32))})
TEXT = pa.table({"z": LISTS, "target": [f"c{v}" for v in LABELS], "w": np.ones(N)})
PLAIN = {"use_dictionary": False, "compression": "none", "store_schema": False, "write_statistics": False}
KINDS = {
    "list": (LIST, {"row_group_size": 10}, {"logits": "z"}),
    "plain": (LIST, {"row_group_size": 9, **PLAIN}, {"logits": "z"}),
    "second": (LIST, {"data_page_version": "2.0", "write_page_index": True, "row_group_size": 15}, {"logits": "z"}),
    "wide": (WIDE, {"row_group_size": 12, **PLAIN}, {"logits": "z*"}),
    "text": (TEXT, {"compression": "zstd"}, {"logits": "z", "weight": "w", "class_names": ["c0", "c1", "c2"]}),
}


def write_kind(path, kind):
    """A whole file; returns how it is evaluated."""
    if kind == "ours":
        with fx.PredictionWriter(path, overwrite=True) as writer:
            writer.write(SCORES, LABELS, id=np.arange(N))
        return {"logits": "logit_*", "target": "target"}
    table, options, call = KINDS[kind]
    pq.write_table(table, path, **options)
    return {"target": "target", **call}


def outcomes(path, whole, damaged, call):
    """How the damaged files are taken; another number than the right one, or another error, ends the process."""
    path.write_bytes(whole)
    right = fx.evaluate(path, threads=1, **call)
    found = Counter()
    for number, data in enumerate(damaged):
        print(path.name, number, flush=True)
        path.unlink()  # a new file, so that nothing of the last one is left anywhere
        path.write_bytes(data)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            ev = fx.evaluate(path, threads=1, memory="1M", **call)
        except (fx.DataError, fx.UsageError) as error:  # of usage, if the names of the columns are other ones
            found["refused" if str(error) else "without a message"] += 1
        else:
            found["read"] += 1
            assert (ev.rows, ev.loss) == (right.rows, right.loss), f"{path} {number}: {ev.rows}, {ev.loss}"
        faulthandler.cancel_dump_traceback_later()
    return found


def footer_start(whole):
    return len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


def flipped(whole):
    """The file with each single bit of its footer flipped, up to the last byte."""
    for place in range(footer_start(whole), len(whole)):
        for bit in range(8):
            yield whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


def mutated(whole, seeds):
    """The file with a few bytes of the footer replaced, left out or doubled, its length mended half of the time."""
    start = footer_start(whole)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        footer = bytearray(whole[start:-8])
        for _ in range(int(rng.integers(1, 6))):
            place = int(rng.integers(len(footer)))
            how = int(rng.integers(4))
            if how < 2:
                footer[place] = int(rng.integers(256)) if how else footer[place] ^ 1 << int(rng.integers(8))
            elif how == 2:
                del footer[place : place + int(rng.integers(1, 4))]
            else:
                footer[place:place] = bytes(rng.integers(0, 256, int(rng.integers(1, 4))).astype(np.uint8))
        length = len(footer) if seed % 2 else len(whole) - 8 - start
        yield whole[:start] + bytes(footer) + length.to_bytes(4, "little") + b"PAR1"


def main(folder, how, *which):
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    use_compiled()
    folder.mkdir(exist_ok=True)
    found = Counter()
    for kind in which if how == "flip" else KINDS:
        path = folder / f"{kind}.parquet"
        call = write_kind(path, kind)
        whole = path.read_bytes()
        found += outcomes(
            path, whole, flipped(whole) if how == "flip" else mutated(whole, range(*map(int, which))), call
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
