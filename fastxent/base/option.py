"""An option, said once: a keyword of the public functions, which `help`, the shell and the reference have too.

Options are fields of frozen dataclasses in the folder that uses them, or listed by a loss that owns them. Nothing heavy
may be imported where they stand, since ``fastxent evaluate --help`` reads them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

__all__ = ["REQUIRED", "Option", "option", "options_of"]

#: The default of an option that has none.
REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One keyword: its type and default, what is said of it, and its form in the shell.

    Attributes:
        name: the keyword.
        annotation: its type as a signature writes it; without one that of the ``choices``.
        default: its default, or `REQUIRED`.
        doc: what `help` and the reference say of it.
        brief: what ``--help`` of the shell says of it, which has no such option without it.
        choices: the values that it may have; of a sequence, the values in it.
        least: the smallest number that it may be.
        most: the largest.
        reads: how the shell reads its text, a name in ``cli/option_types.py``; by default as the annotation says.
        flag: what the shell calls it, where that is not the name with dashes.
        metavar: what the shell's help shows for its value.
        multiple: whether the shell takes it several times.
        hidden: whether the shell's help leaves it out.
    """

    name: str = ""
    annotation: str = ""
    default: Any = None
    doc: str = ""
    brief: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    reads: str = ""
    flag: str = ""
    metavar: str | None = None
    multiple: bool = False
    hidden: bool = False

    @property
    def type(self) -> str:
        """The type as a signature writes it: the values, where there are some, and not the name of their type."""
        return self.annotation or f"Literal[{', '.join(map(repr, self.choices))}]".replace("'", '"')


def option(default: Any = REQUIRED, doc: str = "", **form: Any) -> Any:
    """A field of a dataclass of options; ``form`` are further attributes of `Option`."""
    described = Option(default=default, doc=doc, **form)
    if default is REQUIRED:
        return field(metadata={"option": described})
    return field(default=default, metadata={"option": described})


def options_of(definition: type) -> tuple[Option, ...]:
    """The options that a dataclass defines, in their order, named and typed as its fields are."""
    return tuple(
        replace(described, name=each.name, annotation=described.annotation or ("" if described.choices else each.type))
        for each in fields(definition)
        if (described := each.metadata.get("option")) is not None
    )
