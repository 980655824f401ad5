"""State files taken apart, and put together again under a checksum that fits."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import pairwise

import numpy as np

from fastxent.data.spec import Spec
from fastxent.statistics.options import Measures
from fastxent.totals.totals import _shapes


def opened(state):
    """The header of a state, its numbers, and where each part of them begins and ends."""
    length = int.from_bytes(state[8:16], "little")
    header = json.loads(state[16 : 16 + length])
    measures = {name: tuple(v) if isinstance(v, list) else v for name, v in header["measures"].items()}
    shapes = list(_shapes(Spec.from_dict(header["spec"]), Measures(**measures)).values())
    shapes += [tuple(shape) for part in ("all", "groups") for shape in header["shapes"].get(part, ())]
    ends = np.cumsum([0, *map(math.prod, shapes)])
    numbers = np.frombuffer(state[16 + length : -32], "<i8")
    assert len(numbers) == ends[-1]
    return header, numbers, [(lo, hi) for lo, hi in pairwise(ends) if hi > lo]


def sealed(header, numbers):
    """The state of a header and numbers, under a checksum that fits."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = b"FASTXENT" + len(text).to_bytes(8, "little") + text + numbers.astype("<i8").tobytes()
    return body + hashlib.sha256(body).digest()
