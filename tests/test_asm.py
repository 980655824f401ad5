"""The machine code of the softmax and binary kernels: vector FMA in the loops, no call of a mathematical library."""

from __future__ import annotations

import math
import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba.core.caching import NullCache

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.rows.binary import binary
from fastxent.kernels.rows.softmax_across import across
from fastxent.kernels.rows.softmax_along import along
from tests.naive import DTYPE
from tests.rows import score
from tests.test_sigmoid import score as score_binary

FEATURES = llvm.get_host_cpu_features()
FORBIDDEN = re.compile(
    r"\b_*(exp|exp2|expm1|log|log1p|log2|pow|fma|fmaf|fmod)f?(@plt)?\b|svml|_ZGV|libm", re.IGNORECASE
)


def machine_code(way, kind, monkeypatch):
    """The assembly of a row kernel, compiled anew (what comes from the cache has none)."""
    if way == "binary":
        run = binary.__wrapped__("logits", kind, "int8", True)
        run._cache = NullCache()
        monkeypatch.setattr("tests.test_sigmoid.binary", lambda *_: run)
        score_binary(np.zeros(20, DTYPE[kind]), np.zeros(20, np.int8))
        (code,) = run.inspect_asm().values()
        return code
    factory = along if way == "along" else across
    run = factory.__wrapped__(kind, "int64", True, *((way == "columns",) if way != "along" else ()))
    run._cache = NullCache()
    monkeypatch.setattr("tests.rows.kernel_of", lambda *_: run)
    score(np.zeros((20, 70), DTYPE[kind]), np.zeros(20), way)
    (code,) = run.inspect_asm().values()
    return code


KERNELS = [
    ("along", "float32"),
    ("across", "float32"),
    ("along", "float64"),
    ("along", "float16"),
    ("binary", "float32"),
]


@pytest.fixture(scope="module", params=KERNELS, ids="-".join)
def code(request):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return machine_code(*request.param, monkeypatch)


def library_calls(code):
    called = re.findall(r"\bcall[q]?\s+(\S+)", code) + re.findall(r"movabsq\s+\$([A-Za-z_]\w*)", code)
    return [name for name in called if FORBIDDEN.search(name)]


def fused(code):
    """How many fused multiply-adds of four lanes there are, and of single numbers in the same basic blocks."""
    wide = narrow = 0
    for block in re.split(r"^\.LBB", code, flags=re.MULTILINE):
        vectors = re.findall(r"vfn?m(?:add|sub)\d+pd\s+[^\n]*%(y|z)mm", block)
        wide += len(vectors) + vectors.count("z")  # of AVX-512, which take eight lanes
        if vectors:
            narrow += len(re.findall(r"vfn?m(?:add|sub)\d+[sp]d\s+[^\n]*%xmm", block))
    return wide, narrow


def test_calls(code):
    assert not library_calls(code)


@pytest.mark.skipif(not FEATURES.get("fma"), reason="this processor has no vector FMA of x86")
def test_vector_fma(code):
    wide, narrow = fused(code)
    # 5 a term, eight terms a loop: reduction, polynomial, power.
    assert wide > 40
    # Those of single numbers are left to rows taken one by one, in blocks of their own.
    assert narrow == 0


@pytest.mark.parametrize("name", ["exp", "log", "log1p"])
def test_a_call_would_be_seen(name):
    function = getattr(math, name)

    @kernel()
    def run(x):
        for i in range(x.size):
            x[i] = function(x[i]) * x[i] + 1.0

    run._cache = NullCache()
    run(np.ones(8))
    (code,) = run.inspect_asm().values()
    assert library_calls(code)
    assert fused(code) == (0, 0)
