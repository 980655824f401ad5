"""The order of classes whose scores are columns: by the numbers in their names, or as they stand.

Nobody wrote down the order of what a glob matches, of the fields of a struct or of the columns of a frame: programs
that sort names put ``p_10`` before ``p_2``. So numbers from 0 to C - 1 (or 1 to C) are put in order. Other names stand
in the order of the file, where labels that are text find them; integer labels count columns, which numbers must not
contradict.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from fastxent.base.errors import UsageError

__all__ = [
    "bare_names", "check_integer_labels", "check_same_order", "counts_from_one", "in_order", "is_numbered",
    "numbers_of", "order_note",
]  # fmt: skip


def numbers_of(names: Sequence[str]) -> list[int | None]:
    """What is left of each name without what all have in common before and behind, where that is a number."""
    return [int(core) if core.isascii() and core.isdigit() else None for core in _cores(names, digits=r"\d+")]


def _cores(names: Sequence[str], digits: str = "") -> list[str]:
    """The names without what all begin and end with, of which ``digits`` next to the rest are left there."""
    before = re.sub(rf"{digits}\Z", "", _common(names))
    rest = [name[len(before) :] for name in names]
    behind = re.sub(rf"{digits}\Z", "", _common([name[::-1] for name in rest]))
    return [name[: len(name) - len(behind)] for name in rest]


def _common(names: Sequence[str]) -> str:
    """What all names begin with."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike)


def _is_family(numbers: Sequence[int | None]) -> bool:
    """Whether these are the numbers from 0, or from 1, each once."""
    if len(numbers) < 2 or None in numbers:
        return False
    return set(numbers) in ({*range(len(numbers))}, {*range(1, len(numbers) + 1)})


def is_numbered(names: Sequence[str]) -> bool:
    """Whether the numbers in the names are those of C classes."""
    return _is_family(numbers_of(names))


def counts_from_one(names: Sequence[str]) -> bool:
    """Whether the numbers in the names are 1 to C."""
    numbers = numbers_of(names)
    return _is_family(numbers) and 0 not in numbers


def in_order(names: Sequence[str], what: str, *, known: bool = False) -> list[int]:
    """The places of the names in the order of the classes; ``what`` has them, for the message.

    Raises:
        UsageError: some names are numbers and others are not, and the call does not say (``known``) what they mean.
    """
    numbers = numbers_of(names)
    places = list(range(len(names)))
    odd = [name for name, number in zip(names, numbers, strict=True) if number is None]
    if odd and len(names) - len(odd) > 1 and not known:
        raise UsageError(
            f"{what}: columns with numbers, and {_listed(odd)}; which of them are classes, and in which order? Name "
            "the columns one by one, or pass class_names in their order"
        )
    return sorted(places, key=lambda place: numbers[place] or 0) if _is_family(numbers) else places


def order_note(what: str, names: Sequence[str], order: Sequence[int]) -> str | None:
    """What is to be said of classes that were put in order, from 1, or both."""
    moved = list(order) != list(range(len(names)))
    ordered = [names[place] for place in order]
    said = f"the classes of {what} are in the order of their numbers, not of the file" if moved else ""
    if counts_from_one(names):
        said += f"{'; ' if said else ''}label 0 is {ordered[0]!r}"
    return said or None


def bare_names(columns: Sequence[str], given: Sequence[str]) -> Sequence[str]:
    """What columns stand for: their names without what all have in common, where that makes them names given."""
    candidates = (columns, _cores(columns), [str(number) for number in numbers_of(columns)])
    return next((names for names in candidates if set(names) == set(given)), columns)


def check_same_order(given: Sequence[str], columns: Sequence[str], what: str) -> None:
    """Raise `UsageError` if class names are those of the columns in another order."""
    if len(given) == len(columns) and list(given) != list(columns) and set(given) == set(columns):
        raise UsageError(
            f"{what} are {_listed(given)}, and the columns of the scores stand for {_listed(columns)}: the same "
            "classes in another order; list the columns, or the class names, in the order of the other"
        )


def check_integer_labels(names: Sequence[str] | None, *, of_columns: bool) -> None:
    """Raise `UsageError` if integer labels could mean the numbers by which classes are named, or their positions.

    Columns are put in order, from 1 too, so what is numbered like that is no question.
    """
    if names is None or not all(re.fullmatch(r"-?\d+", name) for name in names):
        return
    if [int(name) for name in names] == list(range(len(names))) or (of_columns and counts_from_one(names)):
        return
    what = "the columns of the scores stand for" if of_columns else "class_names are"
    counted = _listed(list(map(str, range(len(names)))), quoted=False)
    raise UsageError(
        f"{what} {_listed(names)}, and the labels are integers: names, or positions? Say which by labels=, the stored "
        f"values in the order of the scores: {_listed(names, quoted=False)} if they are these names, {counted} if they "
        "are positions"
    )


def _listed(names: Sequence[str], *, quoted: bool = True) -> str:
    shown = [repr(name) if quoted else name for name in names[:8]]
    return (", " if quoted else ",").join(shown) + (", ..." if len(names) > 8 else "")
