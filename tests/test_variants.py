"""Kernels made by one factory keep to themselves, also when some come from the cache and some do not."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The body of `inner` is long enough for LLVM to call it instead of inlining it.
PROGRAM = """
import math
import sys
from fastxent.kernels.compiler.compile import kernel

def factory(value):
    @kernel(variant=f"{value}")
    def inner(x):
        y = float(x)
BODY        return x + value + int(y > 2.0)

    @kernel(variant=f"{value}")
    def outer(x):
        return inner(x) * 2

    return outer

print([factory(int(value))(1) for value in sys.argv[1:]])
""".replace("BODY", "        y = math.sin(y) * math.cos(y + value) + math.exp(-y * y)\n" * 40)


@pytest.mark.slow
def test_cached_code_calls_its_own_variant(tmp_path: Path) -> None:
    """Symbols carry a number that starts anew in each process: code from the cache must not meet another's name."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.getcwd()}

    def results(*values: int) -> list[int]:
        command = [sys.executable, str(script), *map(str, values)]
        run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return ast.literal_eval(run.stdout)

    assert results(10) == [22]
    assert results(20, 10) == [42, 22]
