"""What the definitions of keywords write into the public functions: signatures, ``Args:``, and where keywords go.

``python -m tests.signatures --write`` (``make signatures``) writes them; a test holds the files to them.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterable, Iterator

import fastxent
from fastxent.api.options import DEFINITIONS, SIGNATURES, Signature
from fastxent.base.option import REQUIRED, Option, options_of
from fastxent.losses.registry import OPTIONS
from tests.shell import ROOT

WIDTH = 120
#: Definition -> its options.
FIELDS = {definition.__name__: options_of(definition) for definition in DEFINITIONS}


def main() -> None:
    for path in dict.fromkeys(map(path_of, SIGNATURES)):
        text = path.read_text()
        if (new := written(path)) != text and "--write" in sys.argv:
            path.write_text(new)
            print(f"wrote {path.relative_to(ROOT)}")


def path_of(function: str):
    home = fastxent._HOME[function.partition(".")[0]]
    return ROOT / "fastxent" / f"{home.replace('.', '/')}.py"


def written(path) -> str:
    """The text of a module with what is written from the definitions, as it should be."""
    text = path.read_text()
    for name, signature in SIGNATURES.items():
        if path_of(name) == path:
            lines = text.splitlines(keepends=True)
            for first, last, new in sorted(pieces(name, signature, text), reverse=True):
                lines[first:last] = new
            text = "".join(lines)
    return text


def pieces(name: str, signature: Signature, text: str) -> Iterator[tuple[int, int, list[str]]]:
    """What is written into a function, with the first and the last line (from 0, not included) of what was there."""
    function, docstring = definition_of(name, text)
    inner = " " * function.col_offset
    lines = text.splitlines()
    body = [each for each in function.body if each is not docstring]
    until = docstring.lineno if docstring in function.body else body[0].lineno
    yield function.lineno - 1, until - 1, head(function, signature)
    first = lines.index(f"{' ' * docstring.col_offset}Args:", docstring.lineno, docstring.end_lineno) + 1
    last = lines.index("", first)
    yield first, last, [f"{line}\n" for line in arguments(signature.options, docstring.col_offset)]
    names = {option.name for option in signature.options}
    for each in body:
        match each:
            case ast.Assign(targets=[ast.Name(id=place)], value=ast.Call(func=ast.Name(id=definition)) as call):
                if definition in FIELDS:
                    said = {key.arg: ast.get_source_segment(text, key.value) for key in call.keywords}
                    new = gathered(place, definition, passed(definition, names, said), inner)
                    yield each.lineno - 1, each.end_lineno, new


def definition_of(name: str, text: str):
    """The function that has the keywords (of a class its constructor), and the docstring that says what they are."""
    outer, _, method = name.partition(".")
    of_file = ast.parse(text).body
    found = next(each for each in of_file if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.name == outer)
    if isinstance(found, ast.FunctionDef):
        return found, found.body[0]
    wanted = method or "__init__"
    function = next(each for each in found.body if isinstance(each, ast.FunctionDef) and each.name == wanted)
    return function, function.body[0] if method else found.body[0]


def passed(definition: str, names: set[str], said: dict[str, str]) -> str:
    """What is handed to a definition: the keywords of the function, but what is said to be something else stays."""
    other = {name: f"{name}={text}" for name, text in said.items() if text != name or name not in names}
    values = [
        other.get(option.name) or value(option, definition)
        for option in FIELDS[definition]
        if option.name in names | other.keys()
    ]
    if definition == "LossOptions" and (own := ", ".join(f'"{name}": {name}' for name in OPTIONS if name in names)):
        values.append(f"own={{{own}}}")
    return ", ".join(values)


def head(function: ast.FunctionDef, signature: Signature) -> list[str]:
    """The ``def`` of a function."""
    parameters = [*map(parameter, signature.positional), "*", *map(parameter, signature.keywords)]
    inner = " " * function.col_offset
    if inner:
        parameters.insert(0, "self")
    returns = ast.unparse(function.returns)
    return [
        f"{inner}def {function.name}(\n", *(f"{inner}    {each},\n" for each in parameters), f"{inner}) -> {returns}:\n"
    ]  # fmt: skip


def parameter(option: Option) -> str:
    if option.default is REQUIRED:
        return f"{option.name}: {option.type}"
    default = f'"{option.default}"' if isinstance(option.default, str) else repr(option.default)
    return f"{option.name}: {option.type} = {default}"


def arguments(options: Iterable[Option], indent: int) -> Iterator[str]:
    """The lines of ``Args:``."""
    for option in options:
        yield from textwrap.wrap(
            f"{option.name}: {option.doc}", WIDTH, initial_indent=" " * (indent + 4),
            subsequent_indent=" " * (indent + 8), break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def gathered(place: str, definition: str, passed: str, inner: str) -> list[str]:
    """The statement that puts keywords into the definition that they are from."""
    if len(line := f"{inner}    {place} = {definition}({passed})\n") <= WIDTH:
        return [line]
    deep = f"{inner}        "
    lines = textwrap.wrap(f"{passed},", WIDTH, initial_indent=deep, subsequent_indent=deep)
    return [
        f"{inner}    {place} = {definition}(\n", *(f"{line}\n" for line in lines), f"{inner}    )  # fmt: skip\n"
    ]  # fmt: skip


def value(option: Option, definition: str) -> str:
    """A keyword is handed on, or what is read from it: columns that ride along have their names taken."""
    name = option.name
    if definition == "Measures" and name == "statistics":
        return f"{name}=requested({name})"
    if definition == "Measures" and option.reads in ("column", "columns"):
        return f'{name}=extra.{"one" if option.reads == "column" else "several"}("{name}", {name})'
    return f"{name}={name}"


if __name__ == "__main__":
    main()
