"""The machine code of the softmax kernels: vector FMA in the loops, no call of a mathematical library."""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba.core.caching import NullCache

from fastxent.kernels import softmax
from tests.naive import DTYPE
from tests.rows import score


FEATURES = llvm.get_host_cpu_features()
FORBIDDEN = re.compile(r"\b_*(exp|exp2|expm1|log|log1p|log2|pow|fma|fmaf|fmod)f?(@plt)?\b|svml|_ZGV|libm", re.IGNORECASE)


def machine_code(way, kind, monkeypatch):
    """The assembly of a row kernel, compiled anew (what comes from the cache has none)."""
    factory = softmax.along if way == "along" else softmax.across
    run = factory.__wrapped__(kind, "int64", True, *((way == "columns",) if way != "along" else ()))
    run._cache = NullCache()
    monkeypatch.setattr("tests.rows.kernel_of", lambda *_: run)
    score(np.zeros((20, 70), DTYPE[kind]), np.zeros(20), way)
    (code,) = run.inspect_asm().values()
    return code


KERNELS = [("along", "float32"), ("across", "float32"), ("along", "float64"), ("along", "float16")]


@pytest.fixture(params=KERNELS, ids="-".join)
def code(request, monkeypatch):
    return machine_code(*request.param, monkeypatch)


def test_calls(code):
    called = re.findall(r"\bcall[q]?\s+(\S+)", code) + re.findall(r"movabsq\s+\$([A-Za-z_]\w*)", code)
    assert not [name for name in called if FORBIDDEN.search(name)]


@pytest.mark.skipif(not FEATURES.get("fma"), reason="this processor has no vector FMA of x86")
def test_vector_fma(code):
    wide = re.findall(r"vfn?madd\d+pd\s+[^\n]*%(?:y|z)mm", code)
    narrow = re.findall(r"vfn?madd\d+[sp]d\s+[^\n]*%xmm", code)
    # 15 a term at the least: reduction, polynomial, sum; scalar ones are left to rows taken one by one.
    assert len(wide) > 100
    assert len(wide) > len(narrow)
