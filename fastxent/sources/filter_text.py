"""Filters as text, such as ``country == 'DE' and year >= 2024``: a small grammar with a parser of its own.

    filter   := and_part ("or" and_part)*
    and_part := not_part ("and" not_part)*
    not_part := "not" not_part | "(" filter ")" | test
    test     := value compare value | name ["not"] "in" "(" value ("," value)* ")" | name "is" ["not"] "null" | name
    compare  := "==" | "=" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    value    := name | 'text' | "text" | number | "true" | "false"

Names are letters, digits, ``_`` and ``.``, or anything between backticks. Two quotes within text mean one. Words of
the grammar may be written in capitals. A comparison with null is not true, so such rows are left out, as in SQL.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from fastxent.base.errors import UsageError

__all__ = ["Name", "Parsed", "parse"]

MAX_DEPTH = 100
#: Arrow goes through a row of conditions by recursion: 20,000 were more than the stack holds.
MAX_TESTS = 1000
#: Characters of a filter that a message shows.
MAX_SHOWN = 200
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<number>[-+]?(?:\d++\.?\d*+|\.\d++)(?:[eE][-+]?\d++)?+(?![\w.]))
    |`(?P<quoted>[^`]+)`
    |(?P<name>[^\W\d][\w.]*)
    |(?P<sign><>|<=|>=|==|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_COMPARE = {"==": "==", "=": "==", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WORDS = frozenset(("and", "or", "not", "in", "is", "null", "true", "false"))


class Name(NamedTuple):
    """A column."""

    name: str


#: One of ("and", a, b, ...), ("or", a, b, ...), ("not", a), ("compare", sign, left, right), ("in", name, values),
#: ("null", name) and ("name", name).
Parsed = tuple[Any, ...]


class _Token(NamedTuple):
    kind: str
    value: Any
    at: int


def parse(text: str) -> Parsed:
    """The tree of a filter.

    Raises:
        UsageError: the text is no filter; the message shows where.
    """
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UsageError(f"filter: {_cut(ascii(text))} is not Unicode text; write it as UTF-8")
    return _Parser(text).whole()


def _cut(text: str) -> str:
    """The beginning of what was given, for messages."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._cut(text)
        self._at = 0
        self._depth = self._tests = 0

    def whole(self) -> Parsed:
        tree = self._either()
        if self._peek().kind != "end":
            raise self._wrong("expected 'and', 'or' or the end")
        return tree

    def _cut(self, text: str) -> list[_Token]:
        tokens, at = [], 0
        end = len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise UsageError(f"filter: cannot read {text[at : at + 20]!r} (character {at + 1} of {_cut(text)!r})")
            kind = str(match.lastgroup)
            raw, start, at = match[kind], match.start(kind), match.end()
            if kind == "text":
                tokens.append(_Token("value", raw[1:-1].replace(raw[0] * 2, raw[0]), start))
            elif kind == "number":
                whole = raw.lstrip("+-").isdigit()
                value = int(raw) if whole and len(raw) < 40 else float(raw)
                if value in (float("inf"), float("-inf")):
                    raise UsageError(f"filter: {_cut(raw)} is beyond what numbers can be (character {start + 1})")
                tokens.append(_Token("value", value, start))
            elif kind == "name" and raw.lower() in ("true", "false"):
                tokens.append(_Token("value", raw.lower() == "true", start))
            elif kind == "name" and raw.lower() in _WORDS:
                tokens.append(_Token(raw.lower(), raw, start))
            else:
                tokens.append(_Token("name" if kind in ("name", "quoted") else raw, raw, start))
        return [*tokens, _Token("end", "the end", len(text))]

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *kinds: str) -> _Token | None:
        token = self._peek()
        if token.kind not in kinds:
            return None
        self._at += 1
        return token

    def _need(self, kind: str) -> _Token:
        token = self._take(kind)
        if token is None:
            raise self._wrong(f"expected {kind!r}")
        return token

    def _wrong(self, what: str) -> UsageError:
        token = self._peek()
        got = _cut(repr(token.value))
        return UsageError(f"filter: {what}, got {got} (character {token.at + 1} of {_cut(self._text)!r})")

    def _either(self) -> Parsed:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else ("or", *parts)

    def _both(self) -> Parsed:
        parts = [self._negated()]
        while self._take("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else ("and", *parts)

    def _negated(self) -> Parsed:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UsageError(f"filter: more than {MAX_DEPTH} levels of parentheses and 'not'")
        try:
            if self._take("not"):
                return ("not", self._negated())
            if self._take("("):
                tree = self._either()
                self._need(")")
                return tree
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Parsed:
        left = self._value("a column")
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise UsageError(f"filter: more than {MAX_TESTS} conditions; list values by in (...)")
        sign = self._take(*_COMPARE)
        if sign is not None:
            right = self._value("a value")
            if not isinstance(left, Name) and not isinstance(right, Name):
                raise self._wrong("expected a column on one side of the comparison before this")
            return ("compare", _COMPARE[sign.kind], left, right)
        if not isinstance(left, Name):
            raise self._wrong("expected a comparison")
        if self._take("is"):
            negated = self._take("not")
            self._need("null")
            return ("not", ("null", left)) if negated else ("null", left)
        negated = self._take("not")
        if negated or self._peek().kind == "in":
            self._need("in")
            test = ("in", left, self._values())
            return ("not", test) if negated else test
        return ("name", left)

    def _value(self, what: str) -> Any:
        token = self._take("value", "name")
        if token is None:
            raise self._wrong(f"expected {what}")
        return Name(token.value) if token.kind == "name" else token.value

    def _values(self) -> tuple[Any, ...]:
        self._need("(")
        values = []
        while True:
            value = self._need("value").value
            values.append(value)
            if not self._take(","):
                break
        self._need(")")
        return tuple(values)
