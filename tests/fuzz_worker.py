"""Run as a process: reads damaged files and prints what became of each; anything unforeseen ends it with a traceback.

python fuzz_worker.py FOLDER FIRST LAST
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from fastxent import OutOfMemoryError, SourceError, UsageError
from fastxent.kernels.parquet.compiled import use_compiled
from fastxent.sources.open import Selection, open_source

N, C = 500, 5
SECONDS = 20


def write_all(folder):
    """One whole file of every kind; returns for each its selection."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(N, C)).astype(np.float32), rng.integers(0, C, N)
    lists = pa.ListArray.from_arrays(pa.array(np.arange(N + 1) * C, pa.int32()), pa.array(scores.ravel()))
    table = pa.table({"z": lists, "y": labels})
    wide = pa.table({f"p{j}": scores[:, j] for j in range(C)} | {"y": [str(v) for v in labels]})
    z, p = Selection(("z",), "y"), Selection(("p*",), "y", class_names=tuple("01234"))
    pq.write_table(table, folder / "list.parquet", row_group_size=200, compression="zstd")
    pq.write_table(table, folder / "sums.parquet", row_group_size=200, write_page_checksum=True, use_dictionary=False)
    pq.write_table(wide, folder / "wide.parquet", row_group_size=200, compression="none")
    pyarrow.feather.write_feather(table, folder / "plain.arrow", chunksize=200, compression="uncompressed")
    pyarrow.feather.write_feather(wide, folder / "lz4.feather", chunksize=200, compression="lz4")
    np.save(folder / "z.npy", scores)
    np.save(folder / "y.npy", labels)
    header = {
        "z": {"dtype": "F32", "shape": [N, C], "data_offsets": [0, scores.nbytes]},
        "y": {"dtype": "I64", "shape": [N], "data_offsets": [scores.nbytes, scores.nbytes + labels.nbytes]},
    }
    text = json.dumps(header).encode()
    parts = (len(text).to_bytes(8, "little"), text, scores.tobytes(), labels.tobytes())
    (folder / "z.safetensors").write_bytes(b"".join(parts))
    return {
        "list.parquet": z, "sums.parquet": z, "wide.parquet": p, "plain.arrow": z, "lz4.feather": p,
        "z.npy": Selection((), str(folder / "y.npy")), "z.safetensors": z,
    }  # fmt: skip


def damaged(whole, seed):
    """The file with some bytes flipped, cut short, or both; the ends, where the structure is, are hit more often."""
    rng = np.random.default_rng(seed)
    data = np.frombuffer(whole, np.uint8).copy()
    how = seed % 4
    if how != 3:
        count = int(rng.integers(1, 9))
        places = rng.integers(0, len(data), count)
        if how == 1:
            places = len(data) - 1 - rng.integers(0, min(len(data), 1200), count)
        elif how == 2:
            places = rng.integers(0, min(len(data), 200), count)
        data[places] ^= rng.integers(1, 256, count).astype(np.uint8)
    if how == 3 or seed % 16 == 0:
        data = data[: int(rng.integers(0, len(data)))]
    return data.tobytes()


def promised(path):
    """How many rows the (damaged) file promises, by its own format's reader."""
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    return None


def rows_of(path, selection):
    """The source of a file, and how many rows are read of it."""
    source = open_source(path, selection, verify_checksums="sums" in path.name)
    return source, sum(batch.num_rows for split in source.splits() for batch in source.read(split))


def main(folder, first, last):
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    folder.mkdir()
    use_compiled()
    kinds = write_all(folder)
    outcomes = {}
    for name, selection in kinds.items():
        whole = (folder / name).read_bytes()
        path = folder / f"damaged-{name}"
        rows_of(folder / name, selection)  # what has to be compiled takes its time
        for seed in range(first, last):
            print(name, seed, flush=True)
            path.unlink(missing_ok=True)  # a new file: the old one may be mapped still
            path.write_bytes(damaged(whole, seed))
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                source, rows = rows_of(path, selection)
            except (SourceError, UsageError, OutOfMemoryError) as error:
                if not str(error):
                    raise RuntimeError("an error without a message") from error
                outcomes[name, "refused"] = outcomes.get((name, "refused"), 0) + 1
            else:
                outcomes[name, "read"] = outcomes.get((name, "read"), 0) + 1
                assert rows == source.num_rows, (rows, source.num_rows)
                assert promised(path) in (None, rows), (rows, promised(path))
            faulthandler.cancel_dump_traceback_later()
    print(json.dumps({" ".join(key): count for key, count in outcomes.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
