"""What every class of a row costs, -log p_c: the terms of a cross-entropy before they have their shares."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract.problem import SIZE
from fastxent.kernels.rows.class_costs import costs
from fastxent.kernels.vector.memory import load, load_first, put
from fastxent.kernels.vector.simd import widen

__all__ = ["class_terms"]


@cache
def class_terms(form: str, kind: str) -> Any:
    """The kernel ``write(p, n, work, out)``: the costs of the first n rows, each of whole eights of float64."""
    prepare, cost = costs(form, kind)
    size = SIZE[kind]

    @kernel(variant=f"{form}-{kind}")
    def write(p, n, work, out):
        for i in range(n):
            row = p.scores + i * p.stride
            to = out.ctypes.data + i * out.strides[0]
            known = prepare(p, row, work.lanes)
            for j in range(0, p.classes, 8):
                z = row + j * size
                x = load(z, kind, 8) if p.classes - j >= 8 else load_first(z, kind, 8, p.classes - j)
                loss, _, _ = cost(known, widen(x), np.int32(known[1] - j))
                put(to + j * 8, loss)

    return write
