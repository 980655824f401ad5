"""What a user waits for at the prompt: help, a small file, the first run of all."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.measure import OURS, Call, Contender, Trial
from bench.settings import Settings

__all__ = ["startup"]

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "data" / "digits.parquet"
COMMAND = [sys.executable, "-m", "fastxent"]
EVALUATE = [*COMMAND, "evaluate", str(DIGITS), "--logits", "logits", "--target", "label"]

_TABLE = f"import pyarrow.parquet as pq; t = pq.read_table({str(DIGITS)!r}, columns=['logits', 'label'])\n"
SKLEARN = _TABLE + (
    "import numpy as np; from scipy.special import softmax; from sklearn.metrics import log_loss\n"
    "log_loss(t['label'].to_numpy(), softmax(np.stack(t['logits'].to_numpy()), axis=1))"
)
TORCH = _TABLE + (
    "import numpy as np, torch\n"
    "z, y = torch.tensor(np.stack(t['logits'].to_numpy())), torch.tensor(t['label'].to_numpy().astype('int64'))\n"
    "float(torch.nn.functional.cross_entropy(z, y))"
)


def startup(settings: Settings) -> Iterator[Trial]:
    """Whole processes, from nothing to the end."""
    python = _contender("python -c pass", ["-c", "pass"])
    sklearn, torch = _contender("script with sklearn", ["-c", SKLEARN]), _contender("script with torch", ["-c", TORCH])
    if settings.wanted("start-up", "fastxent --help"):
        yield _trial("fastxent --help", [Contender(OURS, lambda: _run([*COMMAND, "--help"]), "ours"), python])
    if settings.wanted("start-up", "evaluate digits"):
        yield _trial("evaluate digits", [Contender(OURS, lambda: _run(EVALUATE), "ours"), python, sklearn, torch])
    if settings.wanted("start-up", "evaluate digits, first run"):
        with tempfile.TemporaryDirectory(prefix="fastxent-cold-") as folder:
            cold = Contender(OURS, lambda: _run(EVALUATE, NUMBA_CACHE_DIR=folder), "ours")
            yield Trial("start-up", "evaluate digits, first run", 0, 0, [cold, python], rounds=1, warm_up=False)


def _trial(case: str, contenders: list[Contender]) -> Trial:
    return Trial("start-up", case, 0, 0, contenders)


def _contender(name: str, arguments: list[str]) -> Contender:
    return Contender(name, lambda: _run([sys.executable, *arguments]))


def _run(command: list[str], **environment: str) -> Call:
    """A process with byte code kept, as an installed package has it."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def call() -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=inherited | environment)

    return call
