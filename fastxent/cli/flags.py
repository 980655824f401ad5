"""Messages that speak of keywords of Python, in the words of the shell."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["in_flags"]


def in_flags(text: str) -> str:
    """A message with flags for keywords: ``name=value``, and a name before what was expected of it.

    Paths such as ``weight=3/part.parquet`` and what stands in quotes are not touched.

    >>> in_flags('bins: expected a divisor of 3600, got 7; pass statistics="ranking" or group_by=')
    '--bins: expected a divisor of 3600, got 7; pass --statistics ranking or --group-by'
    """
    words = _flags()
    names = "|".join(sorted(words, key=len, reverse=True))
    first = re.match(rf"({names})(?=: )", text)
    if first is not None:
        text = words[first[1]] + text[first.end() :]
    quoted = r"""(?<![\w=])(?:"[^"]*"|'[^']*')"""
    keyword = rf"""(?<![\w/\\.=-])({names})=(?!=)("[^"]*"|'[^']*'|[\w.-]*)(?![\w/\\=])"""
    return re.sub(f"{quoted}|{keyword}", lambda found: _as_flag(found, words), text)


def _as_flag(found: re.Match[str], words: dict[str, str]) -> str:
    if found[1] is None:
        return found[0]
    value = found[2] if " " in found[2] else found[2].strip("\"'")
    return f"{words[found[1]]} {value}".rstrip()


@cache
def _flags() -> dict[str, str]:
    """The first flag of every keyword that is an option of a command."""
    from fastxent.api.options import SIGNATURES

    options = [each for name in ("evaluate", "score", "compare") for each in SIGNATURES[name].options if each.brief]
    return {each.name: (each.flag.split() or [f"--{each.name.replace('_', '-')}"])[-1] for each in options}
