"""Call a softmax row kernel on an array: the one place in the tests that knows how kernels are called."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, Problem, new_work
from fastxent.kernels.rows.softmax_across import across
from fastxent.kernels.rows.softmax_along import along

WAYS = ("along", "across", "columns")


class Scored(NamedTuple):
    """What a kernel says of every row. Without ``full`` only losses and statuses mean something."""

    loss: NDArray[np.float64]
    p_target: NDArray[np.float64]
    confidence: NDArray[np.float64]
    brier: NDArray[np.float64]
    predicted: NDArray[np.int32]
    rank: NDArray[np.int32]
    status: NDArray[np.uint8]


def same_bits(a: Scored, b: Scored) -> bool:
    """Whether two results are equal to the last bit (signs of zero included, NaN equal to NaN)."""
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def kernel_of(way: str, kind: str, full: bool = True) -> Any:
    if way == "along":
        return along(kind, "int64", full)
    return across(kind, "int64", full, way == "columns")


def score(z: Any, t: Any, way: str, *, full: bool = True, ignore: int | None = None) -> Scored:
    """Scores of the rows of z, of one of the four float types, against the labels t."""
    z = np.atleast_2d(z)
    kind = z.dtype.name
    labels = np.atleast_1d(np.asarray(t, np.int64))
    rows, classes = z.shape
    if way == "columns":
        columns = [np.ascontiguousarray(z[:, j]) for j in range(classes)]
        table = np.array([column.ctypes.data for column in columns], np.int64)
        address, stride = table.ctypes.data, 0
    else:
        if z.strides[1] != z.itemsize:
            z = np.ascontiguousarray(z)
        address, stride = z.ctypes.data, z.strides[0]
    problem = Problem(
        scores=address, stride=stride, classes=classes, target=labels.ctypes.data, target_stride=8, mask=0,
        mask_stride=0, has_ignore=ignore is not None, ignore=ignore or 0, smoothing=0.0, clip=-1.0, normalize=False,
        parameters=np.zeros(0), class_weight=np.zeros(0), pos_weight=np.zeros(0),
    )  # fmt: skip
    work = new_work(classes, SIZE[kind])
    run = kernel_of(way, kind, full)
    parts = []
    for lo in range(0, rows, sc.BLOCK):
        n = min(sc.BLOCK, rows - lo)
        card = sc.new_scorecard()
        run(problem, lo, n, card, work)
        real, whole = card.real[:, :n], card.whole[:, :n]
        parts.append(
            Scored(
                real[sc.LOSS], real[sc.P_TARGET], real[sc.CONFIDENCE], real[sc.BRIER],
                whole[sc.PREDICTED], whole[sc.RANK], card.status[:n],
            )
        )  # fmt: skip
    return Scored(*(np.concatenate(column) for column in zip(*parts, strict=True)))
