"""Mean losses of arrays by other means, each as its users write it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.cases import Data
from bench.measure import OURS, Call, Contender, Role

__all__ = ["PEERS", "Peer", "contenders", "plain_read"]

#: The least probability that peers clip to before they take a logarithm.
TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Peer:
    """``setup(data, threads)`` imports, converts and returns the zero-argument call that is timed.

    Of more than ``max_numbers`` it gets the first rows only, and its time is scaled.
    """

    name: str
    setup: Callable[[Data, int], Call]
    role: Role = "peer"
    max_numbers: int | None = None
    tasks: tuple[str, ...] = ("labels", "soft", "probs", "binary", "multilabel")


def contenders(data: Data, threads: int, peers: Iterable[Peer] | None = None) -> list[Contender]:
    """Everybody who can do the task of these data."""
    found = []
    for peer in PEERS if peers is None else peers:
        if data.task not in peer.tasks:
            continue
        rows = data.rows
        if peer.max_numbers is not None:
            rows = min(rows, max(16, peer.max_numbers * rows // data.predictions.size))

        part = data.head(rows)
        setup = functools.partial(peer.setup, part, threads)
        found.append(Contender(peer.name, setup, peer.role, rows / data.rows))
    return found


def fastxent(data: Data, threads: int) -> Call:
    """The mean loss alone, by the public functions."""
    import fastxent as fx

    if data.task in ("binary", "multilabel"):
        return lambda: fx.binary_cross_entropy(data.target, logits=data.predictions, threads=threads)
    form = "probs" if data.task == "probs" else "logits"
    return lambda: fx.cross_entropy(data.target, **{form: data.predictions}, threads=threads)


def plain_read(data: Data, threads: int) -> Call:
    """Adding up the same bytes as integers: what reading them costs."""
    import numba

    def add(words: Any) -> Any:
        total = np.uint64(0)
        for word in words:
            total += word
        return total

    compiled = numba.njit(nogil=True)(add)
    arrays = [data.predictions] if data.task in ("labels", "probs") else [data.predictions, data.target]
    parts = [part for array in arrays for part in np.array_split(_words(array), threads)]

    def call() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(compiled, parts))

    return call


def _words(array: Any) -> Any:
    raw = array.reshape(-1).view(np.uint8)
    return raw[: len(raw) // 8 * 8].view(np.uint64)


def numpy(data: Data, threads: int) -> Call:
    """The program in every textbook, in the type of the input (float16 and bfloat16 are widened)."""
    z, y = data.predictions, data.target
    if data.task in ("binary", "multilabel"):
        return lambda: float((np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))).mean())
    if data.task == "probs":
        return lambda: float(-np.log(np.maximum(z[np.arange(len(z)), y], np.float32(TINY))).mean())

    def call() -> float:
        wide = z if z.dtype in (np.float32, np.float64) else z.astype(np.float32)
        shifted = wide - wide.max(axis=1, keepdims=True)
        lse = np.log(np.exp(shifted).sum(axis=1))
        if data.task == "soft":
            return float((lse * y.sum(axis=1) - (y * shifted).sum(axis=1)).mean())
        return float((lse - shifted[np.arange(len(z)), y]).mean())

    return call


def scipy(data: Data, threads: int) -> Call:
    """``scipy.special.logsumexp``."""
    from scipy.special import logsumexp

    z, y = data.predictions, data.target
    if z.dtype not in (np.float32, np.float64):
        z = z.astype(np.float32)
    if data.task == "soft":
        return lambda: float((logsumexp(z, axis=1) * y.sum(axis=1) - (y * z).sum(axis=1)).mean())
    return lambda: float((logsumexp(z, axis=1) - z[np.arange(len(z)), y]).mean())


def sklearn(data: Data, threads: int) -> Call:
    """``log_loss``, after the softmax or sigmoid it needs."""
    from scipy.special import expit, softmax
    from sklearn.metrics import log_loss

    z, y = data.predictions, data.target
    if data.task == "binary":
        return lambda: float(log_loss(y, expit(z), labels=[0, 1]))
    known = np.arange(z.shape[1])
    if data.task == "probs":
        return lambda: float(log_loss(y, z, labels=known))
    if z.dtype not in (np.float32, np.float64):
        z = z.astype(np.float32)
    return lambda: float(log_loss(y, softmax(z, axis=1), labels=known))


def _torch_function(data: Data, threads: int) -> tuple[Any, tuple[Any, Any]]:
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    z, y = _tensor(data.predictions), _tensor(data.target)
    if data.task in ("binary", "multilabel"):
        return F.binary_cross_entropy_with_logits, (z, y)
    if data.task == "probs":
        return lambda p, t: F.nll_loss(p.clamp_min(TINY).log(), t), (z, y)
    return F.cross_entropy, (z, y)


def _tensor(array: Any) -> Any:
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def torch_eager(data: Data, threads: int) -> Call:
    """``torch.nn.functional``."""
    import torch

    function, (z, y) = _torch_function(data, threads)

    def call() -> float:
        with torch.inference_mode():
            return float(function(z, y))

    return call


def torch_compile(data: Data, threads: int) -> Call:
    """The same function through ``torch.compile``, for these shapes."""
    import torch

    function, (z, y) = _torch_function(data, threads)
    torch.compiler.reset()
    compiled = torch.compile(lambda a, b: function(a, b), dynamic=False)

    def call() -> float:
        with torch.no_grad():
            return float(compiled(z, y))

    return call


def jax_jit(data: Data, threads: int) -> Call:
    """``jax.nn`` under ``jax.jit``; its threads follow from the processors the process may use."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]  # or float64 input would be rounded
    wide = np.float64 if data.predictions.dtype == np.float64 else np.float32

    def loss(z: Any, y: Any) -> Any:
        if data.task in ("binary", "multilabel"):
            return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))).mean()
        if data.task == "probs":
            return -jnp.log(jnp.maximum(jnp.take_along_axis(z, y[:, None], 1), TINY)).mean()
        z = z.astype(wide)
        lse = jax.nn.logsumexp(z, axis=1)
        if data.task == "soft":
            return (lse * y.sum(axis=1) - (y * z).sum(axis=1)).mean()
        return (lse - jnp.take_along_axis(z, y[:, None], 1)[:, 0]).mean()

    target = data.target.astype(np.int32) if data.target.dtype == np.int64 else data.target
    z, y, jitted = jnp.asarray(data.predictions), jnp.asarray(target), jax.jit(loss)
    return lambda: float(jitted(z, y))


FASTXENT = Peer(OURS, fastxent, "ours")
READ = Peer("plain read", plain_read, "read")
PEERS = (
    FASTXENT,
    READ,
    Peer("torch eager", torch_eager),
    Peer("torch.compile", torch_compile),
    Peer("JAX jit", jax_jit),
    Peer("NumPy", numpy, max_numbers=5_000_000),
    Peer("SciPy logsumexp", scipy, max_numbers=5_000_000, tasks=("labels", "soft")),
    Peer("sklearn log_loss", sklearn, max_numbers=3_000_000, tasks=("labels", "probs", "binary")),
)
