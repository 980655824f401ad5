"""Files of one data set must be alike. Where damage may be skipped, the odd ones are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fastxent.base.errors import SourceError
from fastxent.sources import table
from fastxent.sources.skipped import LeftOuts

__all__ = ["Footer", "alike", "check_same"]


class Footer(NamedTuple):
    """A file (something with a ``name``) with what its footer says (something with ``num_rows``)."""

    file: Any
    reading: table.Reading
    schema: Any
    metadata: Any


def alike(footers: list[Footer], left_out: LeftOuts, probe: Callable[[Footer], Iterable[Any]]) -> list[Footer]:
    """Those of the files that can be read together, with the number of classes and their names.

    All must agree with the first; where files may be left out, with the kind that most of them are of.
    """
    if left_out.skips:
        footers = _measured(footers, left_out, probe)
        telling = [footer for footer in footers if footer.reading.num_classes] or footers
        kinds = Counter(_kind(footer) for footer in telling)
        kind = max(kinds, key=lambda each: kinds[each])  # the earliest of equals
        model = next(footer for footer in footers if _kind(footer) == kind)
    else:
        model = footers[0]
    good = []
    for footer in footers:
        try:
            check_same(model.reading, footer.reading, model.file.name, footer.file.name)
            if left_out.skips and footer.reading.num_classes not in (0, model.reading.num_classes):
                raise SourceError(
                    f"has {footer.reading.num_classes} classes, {model.reading.num_classes} are expected",
                    path=footer.file.name, column=footer.reading.predictions[0],
                )  # fmt: skip
            good.append(footer)
        except SourceError as error:
            left_out.add(error, footer.metadata.num_rows)
    paths = [footer.file.name for footer in good]
    width, names = table.agree([footer.reading for footer in good], paths, lambda i: probe(good[i]))
    return [
        footer._replace(
            reading=table.with_width(table.with_names(footer.reading, names), width, footer.file.name)
        )
        for footer in good
    ]  # fmt: skip


def check_same(first: table.Reading, other: table.Reading, path: str, other_path: str) -> None:
    """Raise `SourceError` naming the column in which two files of one data set differ."""
    if first.predictions != other.predictions:
        raise SourceError(
            f"the prediction columns are {_shown(other.predictions)}, but {_shown(first.predictions)} in {path}",
            path=other_path,
        )
    for (name, kind), (_, found) in zip(first.signatures, other.signatures, strict=True):
        if kind != found:
            raise SourceError(f"is {found} here, but {kind} in {path}; write them alike", path=other_path, column=name)
    if first.class_names != other.class_names and first.class_names is not None and other.class_names is not None:
        raise SourceError(f"the class names differ from those of {path}; pass class_names", path=other_path)


def _measured(footers: list[Footer], left_out: LeftOuts, probe: Callable[[Footer], Iterable[Any]]) -> list[Footer]:
    """Each file with its own number of classes (0 if no row has any)."""
    good = []
    for footer in footers:
        width = footer.reading.num_classes or table.find_width(footer.reading, probe(footer))
        try:
            good.append(footer._replace(reading=table.with_width(footer.reading, width, footer.file.name)))
        except SourceError as error:
            left_out.add(error, footer.metadata.num_rows)
            last = error
    if not good:
        raise last
    return good


def _kind(footer: Footer) -> Any:
    reading = footer.reading
    return reading.predictions, reading.signatures, reading.num_classes


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)})" if len(names) > 8 else "")
