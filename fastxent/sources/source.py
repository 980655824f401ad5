"""What a source is: something that can be cut into splits, each of which is read as batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastxent.base.errors import UsageError
from fastxent.data.batch import Batch
from fastxent.data.spec import Task
from fastxent.data.stored_labels import StoredLabels
from fastxent.losses.base import READY
from fastxent.sources.skipped import LeftOut, LeftOuts

if TYPE_CHECKING:
    from fastxent.sources.dataset.files import DataFile

__all__ = ["ONE_SCORE", "Selection", "Source", "Split", "check_mask"]


#: What is to be done about predictions that are single numbers, of a task with classes.
ONE_SCORE = "one score a row is task='binary' (--task binary)"


def check_mask(mask: Any, task: Task) -> None:
    """Raise `UsageError` for a mask that nothing would look at."""
    if mask is not None and task != "multilabel":
        raise UsageError(
            f"mask applies to the labels of task 'multilabel', and this is task {task!r}; leave rows out by weight "
            "0 or by ignore_index, and classes by logits of -inf"
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which columns of a table are read, and as what.

    Attributes:
        predictions: names or globs of the columns that hold the scores. One name may be a list,
            packed binary, struct or tensor column; several are one column a class, in this order.
        target: name of the column with the targets; None where losses are ready-made.
        task: what one row is.
        weight: name of the column with sample weights.
        mask: name of the column (list of bool) that says which labels of a multilabel row count.
        extra: names of columns that ride along (groups, clusters, kept columns).
        class_names: the classes in the order of the scores; labels that are strings are looked up
            here. None: taken from the file's metadata or the columns' names where these say it.
        dtype: kind of number inside binary columns and uint16 columns ("float16", "bfloat16", ...).
        ids: name of the column with lists of class ids, for predictions that hold the top k classes only.
        num_classes: how many classes there are in all, for top-k predictions (which it makes them).
        form: what the scores are, where that decides how they are read: of top-k predictions "probs" or "log_probs",
            of losses that are ready-made what these are called.
        labels: which class each value of the target means, where these are no class indices.
    """

    predictions: tuple[str, ...]
    target: str | None
    task: Task = "multiclass"
    weight: str | None = None
    mask: str | None = None
    extra: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    dtype: str | None = None
    ids: str | None = None
    num_classes: int | None = None
    form: str = "log_probs"
    labels: StoredLabels | None = None

    def __post_init__(self) -> None:
        check_mask(self.mask, self.task)

    @property
    def is_topk(self) -> bool:
        """Whether rows hold the top k of more classes."""
        return self.ids is not None or self.num_classes is not None

    @property
    def is_ready_made(self) -> bool:
        """Whether losses are read, a number or a list of numbers a row, and no predictions."""
        return self.form in READY


@dataclass(frozen=True, slots=True)
class Split:
    """A piece of a source that one worker reads on its own: whole row groups, or a range of rows.

    ``lo`` and ``hi`` count row groups (Parquet) or rows (arrays); ``first_row`` counts within
    ``path`` and ``first_id`` within the whole source. Two plans of the same data give the same splits.
    """

    id: int
    path: str
    lo: int
    hi: int
    first_row: int
    first_id: int
    num_rows: int
    nbytes: int


class Source(ABC):
    """Rows that can be planned and read. Opened sources are cheap to hold and safe to read from several threads."""

    #: number of scores a row (1 for binary)
    num_classes: int
    #: total rows
    num_rows: int
    #: names of the classes in the order of the scores, where known
    class_names: tuple[str, ...] | None = None
    #: names of the columns, and of the struct's fields, that hold the scores; none of arrays
    score_names: tuple[str, ...] = ()
    #: whether integer labels stand beside columns that are numbered from 1
    counts_from_one: bool = False
    #: a digest of what rows are read with that is not in their files
    digest: str = ""
    #: whether rows are read of lists, one of every element
    flattens: bool = False
    #: what a reader should know of how it was read
    notes: tuple[str, ...] = ()
    #: whether targets are (n, C) matrices (distributions, multilabel) rather than one label a row
    dense_target: bool = False
    #: which paths were read, for reports
    paths: tuple[str, ...] = ()
    #: which files these are; none for data in memory
    files: tuple[DataFile, ...] = ()
    #: how many rows each path holds, whatever a filter leaves of them; empty where there is no filter
    stored: Mapping[str, int] = MappingProxyType({})
    #: whether a batch stays valid when the next one is asked for
    batches_last: bool = False
    #: whether it can be sent to other processes: it pickles as a plan of what to read there
    travels: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """For another process, if it `travels`."""
        self.check_travels()
        return self.__dict__

    def check_travels(self) -> None:
        """Raise `UsageError` if the data are in the memory of this process, and so cannot be read elsewhere."""
        if not self.travels:
            raise UsageError(
                f"{self.paths[0]}: lies in the memory of this process, so no other process can read it; write it to a "
                "file (Parquet, Arrow, .npy) and name that"
            )

    _left_out: LeftOuts = LeftOuts("raise")
    _splits: Sequence[Split] = ()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What could not be read and was left out, so far (``on_error="skip"``)."""
        return self._left_out.found

    @property
    def ways(self) -> Mapping[tuple[str, int], str]:
        """Which way row groups of files were read in this process, "pages" or "pyarrow", by path and number."""
        return MappingProxyType({})

    def stamps(self) -> Mapping[str, tuple[int, int] | None]:
        """Size and time of change of every file, as they were when reading was planned."""
        return {file.name: file.planned_stamp for file in self.files}

    def splits(self) -> Sequence[Split]:
        """The plan: splits in order, which together hold every row once."""
        return self._splits

    @abstractmethod
    def read(self, split: Split) -> Iterator[Batch]:
        """The batches of one split, in order; a batch may have no rows.

        It is valid until the next one is asked for, or longer if `batches_last`.
        """
