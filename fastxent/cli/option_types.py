"""How the shell reads the text of an option; `fastxent.base.option.Option.reads` names the way."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fastxent.base.errors import UsageError

if TYPE_CHECKING:
    from fastxent.base.option import Option

__all__ = ["Condition", "Scores", "listed", "type_of"]


# ParamType became generic after click 8.1, which will do too: hence the ignored type arguments.
class Scores(click.ParamType):  # type: ignore[type-arg]
    """A column, a glob of columns, or several of them with commas between."""

    name = "COLUMNS"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """One name, or a list of names."""
        names = _parts(value)
        if not names:
            self.fail("name at least one column", param, ctx)
        return names[0] if len(names) == 1 else list(names)


class Condition(click.ParamType):  # type: ignore[type-arg]
    """A condition such as ``loss > 0.35``."""

    name = "CONDITION"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The gate that it describes."""
        from fastxent.results.gates import parse_gate

        return parse_gate(value)


class _Text(click.ParamType):  # type: ignore[type-arg]
    """Text that a function reads."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """What the function makes of it; its errors are given the name of the option."""
        try:
            return self._read(value)
        except UsageError as error:
            raise UsageError(f"{param.opts[0]}: {error}") from None
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def listed(values: tuple[str, ...]) -> tuple[str, ...]:
    """Names: of one value those between its commas (in quotes a comma is one of the name), several as they are.

    ``@FILE`` stands for the lines of a file, if there is one. Numbers after a comma belong to edges: age:0,18,65.
    """
    files = [value[:1] == "@" and os.path.isfile(value[1:]) for value in values]
    if len(values) > 1 or files[0]:
        found = zip(values, files, strict=True)
        return tuple(name for value, is_file in found for name in (_lines(value[1:]) if is_file else [value]))
    names: list[str] = []
    for part in (part.strip() for row in csv.reader(values, skipinitialspace=True) for part in row):
        if names and re.search(r":[-+.\de,]+$", names[-1]) and re.fullmatch(r"[-+]?[\d.]+(?:e[-+]?\d+)?", part):
            names[-1] += f",{part}"
        elif part:
            names.append(part)
    return tuple(names)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"@{path}: cannot be read as a list of names, one a line: {error}") from None


def _numbers(text: str) -> Any:
    """Numbers with commas between, or a single one."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"expected numbers with commas between, got {text!r}") from None
    return numbers if len(numbers) > 1 else numbers[0]


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"expected integers with commas between, got {text!r}") from None


def _size(text: str) -> int:
    """Bytes, with a unit: 512M, 4GiB."""
    from fastxent.base.byte_size import byte_size

    try:
        return byte_size(text)
    except UsageError as error:
        raise ValueError(str(error).removeprefix("memory: ")) from None


def _base(text: str) -> float | None:
    if text == "e":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no base of a logarithm; write e (nats), 2 (bits) or 10 (bans)") from None


def _clip(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


#: `Option.reads` -> the type of click.
_TYPES: dict[str, Any] = {
    "column": _Text("COLUMN", str),
    "scores": Scores(),
    "numbers": _Text("W,W,...", _numbers),
    "integers": _Text("K,K,...", _integers),
    "size": _Text("SIZE", _size),
    "base": _Text("e|2|10", _base),
    "clip": _Text("EPS|NAME", _clip),
}


def type_of(option: Option) -> Any:
    """The type of click for an option: how it reads its text, its choices, or what its annotation says."""
    if option.reads:
        return _TYPES[option.reads]
    if option.choices:
        return click.Choice(option.choices)
    if "int" in option.annotation:
        return click.INT if option.least is None else click.IntRange(int(option.least))
    return click.FLOAT if "float" in option.annotation else click.STRING
