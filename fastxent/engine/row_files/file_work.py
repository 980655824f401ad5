"""Files of per-row results as units of work: each is written whole by one worker, where all can see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastxent.engine.plan import Failed, Part, Plan, Stop
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.score_file import RowFile, score_file
from fastxent.engine.work import Chunk, Work, joined
from fastxent.sources.source import Split
from fastxent.storage.place import shown

__all__ = ["FileWork"]


@dataclass(frozen=True)
class FileWork(Work):
    """The files that are to be written of a plan."""

    plan: Plan
    columns: RowColumns
    files: tuple[RowFile, ...]

    def __len__(self) -> int:
        return len(self.files)

    def splits(self, number: int) -> Sequence[Split]:
        """The splits whose rows are in a file."""
        return self.files[number].splits

    def name(self, numbers: Chunk) -> str:
        """The files."""
        first, last = (shown(self.files[number].output) for number in (numbers[0], numbers[-1]))
        return first if first == last else f"{first} to {last} ({len(numbers)} files)"

    def do(self, numbers: Chunk, stop: Stop | None = None) -> Part:
        """Write the files, one after the other."""
        parts: list[Part] = []
        for number in numbers:
            parts.append(score_file(self.plan, self.columns, self.files[number], stop=stop))
            if isinstance(parts[-1], Failed):
                break
        return joined(parts)
