"""Mean losses of arrays in memory, and of the same arrays in memory maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench import peers
from bench.cases import CASES, Data, labels, normals, scaled_rows
from bench.measure import OURS, Call, Contender, Trial
from bench.settings import Settings

__all__ = ["arrays", "mapped"]

#: Contenders that take long and whose time does not depend on the values: left out of the second set of values.
SLOW = ("NumPy", "SciPy logsumexp", "sklearn log_loss")


def arrays(settings: Settings) -> Iterator[Trial]:
    """Every case of the table, everybody who can do it."""
    for case in CASES:
        if settings.wanted("arrays", case.name):
            data = case.make(settings.scale)
            everybody = [peer for peer in peers.PEERS if not (case.trained and peer.name in SLOW)]
            contenders = peers.contenders(data, settings.threads, everybody)
            yield Trial("arrays", case.name, data.rows, data.nbytes, contenders)


def mapped(settings: Settings) -> Iterator[Trial]:
    """``.npy`` files, mapped, beside the same numbers in memory."""
    if not settings.wanted("mapped", ".npy 2M x 100"):
        return
    rows = scaled_rows(2_000_000, settings.scale)
    z, y = normals(rows, 100, 1), labels(rows, 100, 1)
    paths = [settings.folder / "logits.npy", settings.folder / "labels.npy"]
    threads = settings.threads

    def by_path() -> Call:
        import fastxent as fx

        return lambda: fx.evaluate(logits=paths[0], target=paths[1], threads=threads).loss

    def in_memory() -> Call:
        import fastxent as fx

        return lambda: fx.evaluate(logits=z, target=y, threads=threads).loss

    def torch_mapped() -> Call:
        import torch
        import torch.nn.functional as F

        torch.set_num_threads(threads)
        # copy on write: torch takes no read-only arrays
        tensors = [torch.from_numpy(np.load(path, mmap_mode="c")) for path in paths]
        return lambda: float(F.cross_entropy(*tensors))

    def read_mapped() -> Call:
        return peers.plain_read(Data("labels", np.load(paths[0], mmap_mode="r"), None), threads)

    try:
        for path, array in zip(paths, (z, y), strict=True):
            np.save(path, array)
        yield Trial(
            "mapped",
            ".npy 2M x 100",
            rows,
            z.nbytes,
            [
                Contender(OURS, by_path, "ours"),
                Contender("fastxent in memory", in_memory),
                Contender("plain read", read_mapped, "read"),
                Contender("torch eager, mapped", torch_mapped),
            ],
        )
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
