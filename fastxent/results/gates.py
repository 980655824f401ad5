"""Gates: conditions under which a run counts as failed, such as ``loss > 0.35``.

The grammar, read by hand and never evaluated as code::

    gate       = path comparator number
    path       = part { "." part }
    part       = bare word | "quoted" | 'quoted'        quoted: dots, spaces, signs, its own quote doubled
    comparator = "<" | "<=" | ">" | ">=" | "==" | "!="
    number     = what float() reads, but not NaN

A path walks through the names of `Evaluation.to_dict` or `Comparison.to_dict`. Of a list of classes, a part names the
class; of a list of groups two parts choose the column and its value (``groups.country.DE.loss``), again and again until
one group is left, where null is the group without a value and "'null'" the text; of any other list a part is a
position, from 0. A path that ends at a table of numbers means its headline: ``loss`` is ``loss.mean``, ``accuracy`` is
``accuracy.top1``. A value that is NaN fails every gate: what could not be measured has not passed.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.base.text import group_name

__all__ = ["Gate", "failures", "parse_gate"]

_COMPARATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_PART = re.compile(r"""\s*(?:"(?P<double>(?:[^"]|"")*)"|'(?P<single>(?:[^']|'')*)'|(?P<bare>[^\s."'<>=!]+))""")
_COMPARATOR = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*")
_HEADLINE = {
    "loss": "mean", "accuracy": "top1", "calibration": "ece", "delta": "mean", "auc": "value",
    "average_precision": "value", "auc_weighted": "value", "average_precision_weighted": "value",
}  # fmt: skip
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: the run fails if the value at ``path`` compares so with ``limit``."""

    text: str
    path: tuple[str, ...]
    comparator: str
    limit: float

    def value(self, values: Mapping[str, Any]) -> float:
        """The number the gate looks at; raises UsageError, with the names there are, if there is none."""
        here: Any = values
        for depth, part in enumerate(self.path):
            here = self._step(here, part, depth)
        if isinstance(here, Mapping) and (headline := _HEADLINE.get(self.path[-1])) in here:
            here = here[headline]
        if isinstance(here, bool) or not isinstance(here, int | float):
            raise UsageError(f"--fail-if {self.text!r}: {_joined(self.path)} is no number{_choices(here)}")
        return here

    def fails(self, value: float) -> bool:
        """Whether this value fails the gate; NaN always does."""
        return math.isnan(value) or _COMPARATORS[self.comparator](value, self.limit)

    def _step(self, here: Any, part: str, depth: int) -> Any:
        if isinstance(here, Mapping):
            if part in here:
                return here[part]
        elif isinstance(here, list | tuple):
            if len(found := [entry for entry in here if _named(entry) == part]) == 1:
                return found[0]
            if any(part in _columns(entry) for entry in here):
                return _Column(part, list(here))
            if part.isdecimal() and int(part) < len(here) and not any(map(_named, here)):
                return here[int(part)]
            if any(isinstance(entry, Mapping) and part in entry for entry in here):
                ways = ", ".join(map(_quoted, _names(here)))
                raise UsageError(
                    f"--fail-if {self.text!r}: {_joined(self.path[:depth])} are {len(here):,} entries, each with its "
                    f"own {part!r}; choose one of them first, by position or by {ways}"
                )
        elif isinstance(here, _Column):
            groups = (entry for entry in here.entries if isinstance(entry, Mapping) and here.name in entry)
            if left := [entry for entry in groups if group_name(entry[here.name]) == part]:
                return left[0] if len(left) == 1 else left
        where = f"in {_joined(self.path[:depth])}" if depth else "in the result"
        raise UsageError(f"--fail-if {self.text!r}: there is no {part!r} {where}{_choices(here, part)}")


def parse_gate(text: str) -> Gate:
    """Read a gate.

    Examples:
        >>> gate = parse_gate('groups.country."St. Lucia".accuracy < 0.9')
        >>> gate.path, gate.comparator, gate.limit
        (('groups', 'country', 'St. Lucia', 'accuracy'), '<', 0.9)

    Raises:
        UsageError: the text is no gate.
    """
    parts: list[str] = []
    at = 0
    while True:
        match = _PART.match(text, at)
        if match is None:
            raise _malformed(text, "a name" if text[at:].strip() else "a name after the dot" if parts else "a name")
        quote = {"double": '"', "single": "'"}.get(match.lastgroup or "", "")
        parts.append(match[match.lastgroup or 0].replace(2 * quote, quote) if quote else match["bare"])
        at = match.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    match = _COMPARATOR.match(text, at)
    if match is None:
        raise _malformed(text, f"a comparator ({', '.join(_COMPARATORS)}) after {_joined(parts)}")
    number = text[match.end() :].strip()
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if math.isnan(limit):
        raise _malformed(text, f"a number after {match[1]}, got {number!r}")
    return Gate(text.strip(), tuple(parts), match[1], limit)


def failures(gates: Iterable[Gate], values: Mapping[str, Any]) -> list[str]:
    """One line for each gate that fails, with the value it saw."""
    lines = []
    for gate in gates:
        value = gate.value(values)
        if gate.fails(value):
            lines.append(f"gate failed: {gate.text} (it is {value!r})")
    return lines


def _malformed(text: str, expected: str) -> UsageError:
    return UsageError(f"--fail-if {text!r}: expected {expected}; write a condition such as 'loss > 0.35'")


def _quoted(part: str) -> str:
    """A part as it can be written in a gate."""
    if re.fullmatch(r"""[^\s."'<>=!]+""", part):
        return part
    quote = "'" if '"' in part and "'" not in part else '"'
    return quote + part.replace(quote, 2 * quote) + quote


def _joined(parts: Iterable[str]) -> str:
    return ".".join(_quoted(part) for part in parts)


@dataclass(frozen=True, slots=True)
class _Column:
    """A list of groups on the way to one of them: the column is named, its value comes next."""

    name: str
    entries: list[Any]


def _columns(entry: Any) -> list[str]:
    """The names by whose values an entry of a list can be chosen: of a group, what it was grouped by."""
    if not isinstance(entry, Mapping):
        return []
    names = list(map(str, entry))
    return (names[: names.index("count")] if "count" in names else []) or names


def _named(entry: Any) -> str | None:
    """The name of an entry of a list of classes."""
    if not isinstance(entry, Mapping) or "count" in entry:
        return None
    return next((str(entry[key]) for key in ("name", "class") if key in entry), None)


def _names(here: Any) -> list[str]:
    """The names that a path may go on with."""
    if isinstance(here, Mapping):
        return [str(name) for name in here]
    if isinstance(here, _Column):
        return list(dict.fromkeys(group_name(entry[here.name]) for entry in here.entries if here.name in entry))
    if isinstance(here, list | tuple):
        names = [name for entry in here if (name := _named(entry)) is not None]
        return names or list(dict.fromkeys(name for entry in here for name in _columns(entry)))
    return []


def _choices(here: Any, part: str = "") -> str:
    names = _names(here)
    if not names:
        return f"; it has {len(here)} entries, 0 to {len(here) - 1}" if isinstance(here, list) and here else ""
    close = get_close_matches(part, names, n=1)
    hint = f"; did you mean {_quoted(close[0])}?" if close else "; choose one of"
    if close:
        hint += " There are"
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"{hint} {', '.join(map(_quoted, names[:_SHOWN]))}{more}"
