"""Results as JSON, and how they differ from the last committed ones."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

from bench.measure import Measurement

__all__ = ["FOLDER", "SCHEMA", "Result", "committed", "load", "save"]

SCHEMA = "fastxent.bench/1"
FOLDER = Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One run of the benchmarks."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    measurements: list[Measurement]
    date: str = ""

    def find(self, family: str, case: str, contender: str) -> Measurement | None:
        """The measurement of these names."""
        names = (family, case, contender)
        return next((m for m in self.measurements if (m.family, m.case, m.contender) == names), None)

    def families(self) -> list[str]:
        """Families in the order they ran."""
        return list(dict.fromkeys(m.family for m in self.measurements))


def save(result: Result, name: str) -> Path:
    """Write ``results/<name>.json``: one measurement a line, without what is unknown."""
    FOLDER.mkdir(exist_ok=True)
    head = {
        "schema": SCHEMA,
        "date": str(datetime.date.today()),
        "machine": result.machine,
        "settings": result.settings,
    }
    lines = ",\n  ".join(json.dumps(_short(m)) for m in result.measurements)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(head, indent=1)[:-2] + f',\n "measurements": [\n  {lines}\n ]\n}}\n')
    return path


def _short(measurement: Measurement) -> dict[str, Any]:
    facts = {key: value for key, value in dataclasses.asdict(measurement).items() if value not in (None, "")}
    for key, value in facts.items():
        if isinstance(value, float) and key != "value":
            facts[key] = float(f"{value:.4g}")
    return facts


def load(text: str) -> Result:
    """The result that `save` wrote."""
    raw = json.loads(text)
    if raw.get("schema") != SCHEMA:
        raise ValueError(f"schema: expected {SCHEMA!r}, got {raw.get('schema')!r}; run the benchmarks anew")
    return Result(raw["machine"], raw["settings"], [Measurement(**m) for m in raw["measurements"]], raw["date"])


def committed(name: str) -> Result | None:
    """The result of this name in the last commit; without git, the one on disk."""
    path = FOLDER / f"{name}.json"
    text = _in_last_commit(path)
    if text is None and path.exists():
        text = path.read_text()
    try:
        return None if text is None else load(text)
    except (ValueError, KeyError, TypeError):
        return None  # of another schema: nothing to compare with


def _in_last_commit(path: Path) -> str | None:
    if not path.parent.exists():
        return None
    try:
        command = ["git", "show", f"HEAD:./{path.name}"]
        shown = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    except FileNotFoundError:  # no git
        return None
    return shown.stdout if shown.returncode == 0 else None
