"""The files of a data set that are read together: they must be alike; where damage may be skipped, odd ones are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from fastxent.base.errors import SourceError
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.footer import Footer
from fastxent.sources.dataset.reading import Reading, find_width, resolve, width_without_scores, with_width
from fastxent.sources.skipped import LeftOuts
from fastxent.sources.source import Selection

__all__ = ["Member", "find_members"]


class Member(NamedTuple):
    """A file of a data set, what its footer says, and how its columns are read."""

    file: DataFile
    footer: Footer
    reading: Reading


def find_members(
    dataset: Dataset, selection: Selection, left_out: LeftOuts, probe: Callable[[Member], Iterable[Any]]
) -> list[Member]:
    """The files that have the columns of ``selection`` and agree on them, on the number of classes and their names.

    ``probe`` reads the predictions of a file in small batches, for where its schema does not tell the number.

    Raises:
        SourceError: a file is damaged or differs from the others; if such files are left out: it is the last one.
    """
    members: list[Member] = []
    for file, partitions, footer in dataset.footers(skips=left_out.skips):
        try:
            if isinstance(footer, SourceError):
                raise footer
            if members and footer.schema.equals(members[-1].footer.schema, check_metadata=True):
                reading = replace(members[-1].reading, constants=partitions)
            else:
                reading = resolve(footer.schema, selection, file.name, partitions)
            members.append(Member(file, footer, reading))
        except SourceError as error:
            error.path = file.name
            left_out.add(error, None if isinstance(footer, SourceError) else footer.num_rows)
            last = error
    if not members:
        raise last
    return _alike(members, left_out, probe)


def _alike(members: list[Member], left_out: LeftOuts, probe: Callable[[Member], Iterable[Any]]) -> list[Member]:
    """Those of the files that can be read together, with the number of classes and their names.

    All must agree with the first; where files may be left out, with the kind that most of them are of.
    """
    model = members[0]
    if left_out.skips:
        members = _measured(members, left_out, probe)
        telling = [member for member in members if member.reading.num_classes] or members
        kinds = Counter(map(_kind, telling))
        model = max(telling, key=lambda member: kinds[_kind(member)])  # the earliest of equals
    good = []
    for member in members:
        try:
            _check_same(model.reading, member.reading, model.file.name, member.file.name)
            if left_out.skips and member.reading.num_classes not in (0, model.reading.num_classes):
                message = f"has {member.reading.num_classes} classes, {model.reading.num_classes} are expected"
                raise SourceError(message, path=member.file.name, column=member.reading.predictions[0])
            good.append(member)
        except SourceError as error:
            left_out.add(error, member.footer.num_rows)
    names = next((member.reading.class_names for member in good if member.reading.class_names), None)
    widths = (member.reading.num_classes or find_width(member.reading, probe(member)) for member in good)
    width = next(filter(None, widths), 0) or width_without_scores(replace(good[0].reading, class_names=names))
    for file, _, reading in good:
        if reading.num_classes not in (0, width):
            message = f"has {reading.num_classes} classes, the files before it {width}"
            raise SourceError(message, path=file.name, column=reading.predictions[0])
    return [
        member._replace(reading=with_width(replace(member.reading, class_names=names), width, member.file.name))
        for member in good
    ]


def _check_same(first: Reading, other: Reading, path: str, other_path: str) -> None:
    """Raise `SourceError` naming the column in which two files of one data set differ."""
    if first.predictions != other.predictions:
        raise SourceError(
            f"the prediction columns are {_shown(other.predictions)}, but {_shown(first.predictions)} in {path}",
            path=other_path,
        )
    for (name, kind), (_, other_kind) in zip(first.signatures, other.signatures, strict=True):
        if kind != other_kind and "null" not in (kind, other_kind):
            message = f"is {other_kind} here, but {kind} in {path}; write them alike"
            raise SourceError(message, path=other_path, column=name)
    if first.class_names != other.class_names and first.class_names is not None and other.class_names is not None:
        raise SourceError(f"the class names differ from those of {path}; pass class_names", path=other_path)


def _measured(members: list[Member], left_out: LeftOuts, probe: Callable[[Member], Iterable[Any]]) -> list[Member]:
    """Each file with its own number of classes (0 if no row has any)."""
    good = []
    for member in members:
        width = member.reading.num_classes or find_width(member.reading, probe(member))
        try:
            good.append(member._replace(reading=with_width(member.reading, width, member.file.name)))
        except SourceError as error:
            left_out.add(error, member.footer.num_rows)
            last = error
    if not good:
        raise last
    return good


def _kind(member: Member) -> Any:
    reading = member.reading
    return reading.predictions, reading.signatures, reading.num_classes


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)})" if len(names) > 8 else "")
