"""Gates: conditions under which a run counts as failed, such as ``loss > 0.35``.

The grammar, read by hand and never evaluated as code::

    gate       = ( path | every ) comparator number
    every      = "any(" path ")" "." path
    path       = part { "." part }
    part       = bare word | "quoted" | 'quoted'        quoted: dots, spaces, signs, its own quote doubled
    comparator = "<" | "<=" | ">" | ">=" | "==" | "!="
    number     = what float() reads, but not NaN

A path walks through the names of `Evaluation.to_dict` or `Comparison.to_dict`. Of a list of classes, a part names the
class; of a list of groups two parts choose the column and its value (``groups.country.DE.loss``), again and again until
one group is left, where null is the group without a value and "'null'" the text; of any other list a part is a
position, from 0. A path that ends at a table of numbers means its headline: ``loss`` is ``loss.mean``, ``accuracy`` is
``accuracy.top1``, and ``auc_delta`` of a comparison ``auc_delta.mean``. ``any(groups.country).loss > 0.9`` holds if it
does for any group, ``any(per_class).recall < 0.9`` if for any class, and those are named. A value that is NaN fails
every gate: what could not be measured has not passed.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.base.text import group_name

__all__ = ["Gate", "check_names", "failures", "parse_gate"]

_COMPARATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_PART = re.compile(r"""\s*(?:"(?P<double>(?:[^"]|"")*)"|'(?P<single>(?:[^']|'')*)'|(?P<bare>[^\s."'<>=!]+))""")
#: Within any( ).
_INNER = re.compile(_PART.pattern.replace("<>=!", "<>=!()"))
_ANY, _END = re.compile(r"\s*any\s*\(\s*"), re.compile(r"\s*\)\s*\.")
_COMPARATOR = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*")
_HEADLINE = {
    "loss": "mean", "accuracy": "top1", "calibration": "ece", "delta": "mean", "auc": "value",
    "average_precision": "value", "auc_weighted": "value", "average_precision_weighted": "value",
}  # fmt: skip
_SHOWN = 20


def _headline(name: str) -> str | None:
    """The number that is meant by the name of a table of numbers."""
    return "mean" if name.endswith("_delta") else _HEADLINE.get(name)


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: the run fails if the value at ``path`` compares so with ``limit``."""

    text: str
    path: tuple[str, ...]
    comparator: str
    limit: float
    every: tuple[str, ...] | None = None

    def values(self, values: Mapping[str, Any]) -> list[tuple[str, float]]:
        """The numbers the gate looks at, each with the name of its group or class; "" if it is not ``any``."""
        if self.every is None:
            return [("", self.value(values))]
        entries = self._entries(values)
        return [(name, self.value(entry)) for name, entry in entries]

    def _entries(self, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """What is in any( ): groups by a column, crossed groups, or classes, with their names."""
        assert self.every is not None
        head, *columns = self.every
        here = self._step(values, head, 0, self.every)
        if isinstance(here, list) and columns and head == "groups" and len(_columns(here[0]) if here else ()) > 1:
            here = values.get("margins", here)
        for depth, part in enumerate(columns, start=1):
            here = self._step(here, part, depth, self.every)
        if isinstance(here, _Column):
            return [(group_name(each[here.name]), each) for each in here.entries if here.name in each]
        if isinstance(here, Mapping):
            return [(str(name), each) for name, each in here.items()]
        if not isinstance(here, list) or not all(isinstance(each, Mapping) for each in here):
            raise UsageError(f"--fail-if {self.text!r}: {_joined(self.every)} are no groups and no classes")
        return [(_named(each) or _group_of(each), each) for each in here]

    def value(self, values: Mapping[str, Any]) -> float:
        """The number the gate looks at; raises UsageError, with the names there are, if there is none."""
        here: Any = values
        for depth, part in enumerate(self.path):
            here = self._step(here, part, depth, self.path)
        if isinstance(here, Mapping) and (headline := _headline(self.path[-1])) in here:
            here = here[headline]
        if isinstance(here, bool) or not isinstance(here, int | float):
            raise UsageError(f"--fail-if {self.text!r}: {_joined(self.path)} is no number{_choices(here)}")
        return here

    def fails(self, value: float) -> bool:
        """Whether this value fails the gate; NaN always does."""
        return math.isnan(value) or _COMPARATORS[self.comparator](value, self.limit)

    def _step(self, here: Any, part: str, depth: int, path: tuple[str, ...]) -> Any:
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
                    f"--fail-if {self.text!r}: {_joined(path[:depth])} are {len(here):,} entries, each with its "
                    f"own {part!r}; choose one of them first, by position or by {ways}"
                )
        elif isinstance(here, _Column):
            groups = (entry for entry in here.entries if isinstance(entry, Mapping) and here.name in entry)
            if left := [entry for entry in groups if group_name(entry[here.name]) == part]:
                return left[0] if len(left) == 1 else left
        where = f"in {_joined(path[:depth])}" if depth else "in the result"
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
    every, at = None, 0
    if (start := _ANY.match(text)) is not None:
        every, at = _path(text, start.end(), _INNER)
        if (end := _END.match(text, at)) is None:
            raise _malformed(text, f"')' and a dot after any({_joined(every)}")
        at = end.end()
    parts, at = _path(text, at)
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
    return Gate(text.strip(), parts, match[1], limit, every)


def _path(text: str, at: int, one: re.Pattern[str] = _PART) -> tuple[tuple[str, ...], int]:
    """The parts of a path from a place on, and where it ends."""
    parts: list[str] = []
    while True:
        match = one.match(text, at)
        if match is None:
            raise _malformed(text, "a name" if text[at:].strip() else "a name after the dot" if parts else "a name")
        quote = {"double": '"', "single": "'"}.get(match.lastgroup or "", "")
        parts.append(match[match.lastgroup or 0].replace(2 * quote, quote) if quote else match["bare"])
        at = match.end()
        if text[at : at + 1] != ".":
            return tuple(parts), at
        at += 1


def check_names(gates: Iterable[Gate], known: Mapping[str, Any], group_by: Iterable[str] | None = ()) -> None:
    """Raise UsageError for a gate on a name that no result has, before there is one.

    Args:
        gates: the gates.
        known: all names of such results: dictionaries of dictionaries, and for a table the names of its columns.
        group_by: the columns by which rows are grouped; None where they are not known yet.
    """
    columns = None if group_by is None else tuple(group_by)
    for gate in gates:
        here: Any = known
        for path in (gate.every or (), gate.path):
            for depth, part in enumerate(path):
                if isinstance(here, Mapping):
                    here = gate._step(here, part, depth, path)
                    if path[0] == "groups" and depth == 0 and columns == ():
                        raise UsageError(f"--fail-if {gate.text!r}: nothing is grouped; give --group-by")
                    continue
                if not isinstance(here, frozenset):
                    break
                by_column = path[0] == "groups" and depth == 1 and not part.isdecimal()
                if columns is not None and by_column and part not in columns:
                    raise UsageError(f"--fail-if {gate.text!r}: nothing is grouped by {part!r}{_close(part, columns)}")
                if path is gate.path and depth == len(path) - 1 and part not in here:
                    raise UsageError(f"--fail-if {gate.text!r}: there is no {part!r}{_close(part, sorted(here))}")
            if path and path is gate.every and isinstance(here, Mapping):
                here = next(iter(here.values()), None)  # all of them have the same names


def failures(gates: Iterable[Gate], values: Mapping[str, Any]) -> list[str]:
    """One line for each gate that fails, with the values it saw."""
    lines = []
    for gate in gates:
        found = [(name, value) for name, value in gate.values(values) if gate.fails(value)]
        if found and gate.every is None:
            lines.append(f"gate failed: {gate.text} (it is {found[0][1]!r})")
        elif found:
            told = ", ".join(f"{name}: {value!r}" for name, value in found[:_SHOWN])
            more = f", ... ({len(found):,} in all)" if len(found) > _SHOWN else ""
            lines.append(f"gate failed: {gate.text} ({told}{more})")
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


def _group_of(entry: Mapping[str, Any]) -> str:
    """The values of a crossed group."""
    return ", ".join(f"{name}={group_name(entry[name])}" for name in _columns(entry))


def _choices(here: Any, part: str = "") -> str:
    return _close(part, _names(here), here)


def _close(part: str, names: Sequence[str], here: Any = None) -> str:
    if not names:
        return f"; it has {len(here)} entries, 0 to {len(here) - 1}" if isinstance(here, list) and here else ""
    close = get_close_matches(part, names, n=1)
    hint = f"; did you mean {_quoted(close[0])}?" if close else "; choose one of"
    if close:
        hint += " There are"
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"{hint} {', '.join(map(_quoted, names[:_SHOWN]))}{more}"
