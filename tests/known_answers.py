"""The known answers: 200 rows of logits a kind, and the losses they must have, to the last bit, on every machine.

``python -m tests.known_answers`` prints the losses as this machine computes them (JSON of hex floats by kind, one
list a loop). ``python -m tests.known_answers write`` checks them against mpmath and writes known_answers.json: only
after a change of bits that was meant, with a new numerics_version.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests import naive
from tests.rows import score

PATH = Path(__file__).with_suffix(".json")

CLASSES = [1, 2, 3, 5, 10, 16, 31, 32, 33, 48, 49, 64, 100, 255, 256, 257, 513, 1000]
#: kind -> (bits of the integers, exponents of the unit): numbers of which all 53-bit differences are exact
GRID = {"float16": (10, (-8, 0)), "bfloat16": (7, (-6, 1)), "float32": (22, (-18, -10)), "float64": (44, (-40, -32))}
STYLES = 5


def integers(key: str, count: int, bits: int) -> list[int]:
    """Integers in [-2^bits, 2^bits) from SHA-256 of a key: the same wherever Python runs."""
    words = b"".join(hashlib.sha256(f"{key}/{i}".encode()).digest() for i in range(-(-count // 4)))
    return [(int.from_bytes(words[8 * i : 8 * i + 8], "little") >> (63 - bits)) - (1 << bits) for i in range(count)]


def row(kind: str, number: int) -> tuple[np.ndarray[Any, Any], int]:
    """Row ``number`` of a kind: (1, C) logits and the label."""
    classes = CLASSES[number % len(CLASSES)]
    style = number % STYLES
    bits, units = GRID[kind]
    z = np.array(integers(f"{kind} {number}", classes, bits), np.float64) * 2.0 ** units[style == 4]
    t = integers(f"label {number}", 1, 20)[0] % classes
    if style == 1:  # confident, some beyond what exp can tell from 0
        z[t] = 4.0 * (number % 97) + 4.0
    elif style == 2:  # the target is far behind: the careful way
        z[t] = -4.0 * (number % 97) - 4.0
    elif style == 3:  # masked classes and ties
        z[::3] = -math.inf
        z[1::3] = 1.0
        z[t] = 1.0
    return z.astype(naive.DTYPE[kind])[None, :], t


def losses(kind: str, way: str, rows: int = 200) -> list[str]:
    """Hex losses of the rows of a kind, each scored on its own."""
    return [float(score(*row(kind, number), way, full=False).loss[0]).hex() for number in range(rows)]


def verified(kind: str) -> list[str]:
    """The losses, after a check of each against mpmath."""
    result = losses(kind, "along")
    for number, text in enumerate(result):
        z, t = row(kind, number)
        wanted = naive.softmax_row(z[0].astype(np.float64), t).loss
        error = naive.ulps(float.fromhex(text), wanted)
        if error > 4.0 and wanted > 1e-300:
            raise SystemExit(f"{kind} row {number}: {text} is {error:.1f} ulp from {float(wanted).hex()}")
    return result


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        PATH.write_text(json.dumps({kind: verified(kind) for kind in naive.KINDS}, indent=0) + "\n")
    else:
        print(json.dumps({kind: [losses(kind, way) for way in ("along", "across")] for kind in naive.KINDS}))
