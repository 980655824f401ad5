"""Where another library has set the processor to flush subnormal numbers to zero, as -ffast-math does on loading."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FLUSH = "#include <immintrin.h>\nvoid flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }\n"

PROGRAM = """
import ctypes, json, sys
import numpy as np
if sys.argv[1:]:
    ctypes.CDLL(sys.argv[1]).flush()
import fastxent as fx

tiny = np.array([2.0**-1022])
rng = np.random.default_rng(0)
z = rng.standard_normal((4000, 12)) * rng.choice([1.0, 30.0, 250.0], (4000, 1))
y = rng.integers(0, 12, 4000)
p = np.exp(z / 20)
p /= p.sum(axis=1, keepdims=True)
half = np.float16(z / 100)
half[::2, 3] = 2.0**-20
found = {"subnormals": bool(tiny[0] * 0.5)}
for name, kind in (("float16", half), ("float32", np.float32(z))):
    found[name] = [fx.cross_entropy(y, logits=kind, reduction="none"), fx.entropy(logits=kind, reduction="none")]
found["float64"] = [
    fx.cross_entropy(y, logits=z, reduction="none"),
    fx.cross_entropy(p, logits=z, reduction="none"),
    fx.focal_loss(y, logits=z, gamma=1.5, reduction="none"),
    fx.binary_cross_entropy(y % 2, logits=z[:, 0].copy(), reduction="none"),
    fx.kl_divergence(z[::-1].copy(), logits=z, reduction="none"),
]
found["probs"] = [
    fx.cross_entropy(y, probs=p, reduction="none"),
    fx.kl_divergence(p[::-1].copy(), probs=p, normalize=True, reduction="none"),
]
for name in list(found)[1:]:
    found[name] = [np.where(x < 2.0**-1021, 0.0, x).tobytes().hex() for x in found[name]]
faint = np.full((2, 100000), -709.0)
faint[:, 0] = 0.0
faint[1, 1:3] = -690.0, -710.0
found["faint"] = [
    f(logits=faint, reduction="none", **named).tobytes().hex()
    for f, named in ((fx.entropy, {}), (fx.cross_entropy, {"target": [0, 0]}), (fx.poly1_loss, {"target": [0, 0]}))
]
# Threads of ours start in the mode of the thread that starts them.
both = [fx.evaluate(logits=np.tile(z, (40, 1)), target=np.tile(y, 40), threads=n) for n in (1, 2)]
found["mean"] = [r.loss.hex() for r in both] + [r.brier.hex() for r in both]
found["small"] = [fx.cross_entropy([0], probs=[[1e-310, 1.0]]), fx.cross_entropy([0], logits=[[708.5, 0.0]])]
print(json.dumps(found))
"""


def results(*library: str) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, *library]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the mode is set by an x86 instruction")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no compiler")
def test_only_what_is_subnormal_itself_changes(tmp_path: Path) -> None:
    source, library = tmp_path / "flush.c", tmp_path / "flush.so"
    source.write_text(FLUSH)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    usual, flushed = results(), results(str(library))
    assert usual.pop("subnormals")
    assert not flushed.pop("subnormals")
    small, lost = usual.pop("small"), flushed.pop("small")
    assert usual == flushed
    # A probability, or a loss, below 2^-1022 is taken as 0: docs/design.md says so.
    assert small == pytest.approx([713.8, 1e-308], rel=0.6)
    assert lost == [float("inf"), 0.0]
