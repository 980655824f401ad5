"""Where predictions and targets lie, and how they are read: the definition of these keywords."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fastxent.base.option import option
from fastxent.data.spec import Form, Task, check_distinct
from fastxent.losses.base import READY
from fastxent.sources.skipped import OnError

__all__ = ["Inputs"]

InputFormat = Literal["csv", "tsv", "jsonl", "arrow"]

_FORMS = (*get_args(Form), *READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is read, as the public functions take it."""

    data: Any = option(
        None,
        "path, list of paths, glob or directory of Parquet files, or an Arrow table or frame. Left out, ``logits`` "
        "(``probs``, ``log_probs``) and ``target`` are arrays, or paths of ``.npy`` files.",
    )
    target: Any = option(
        None,
        "name of the column with the targets; without ``data`` an array (or path) of class indices (n,), of "
        "distributions (n, C), or of 0 and 1.",
        reads="column",
        brief="Column with the labels or target distributions.",
    )
    logits: Any = option(
        None,
        "name of the column with the scores: a list, a packed or a struct column; or a list of names or a glob such as "
        '``"p_*"``, one column a class. Give exactly one of ``logits``, ``probs`` and ``log_probs``, or none where the '
        "files say it themselves (`PredictionWriter`'s do). Of arrays (n, C), or (n,) for a binary task.",
        reads="scores",
        brief="Column with the logits; or several columns, or a glob, one a class.",
    )
    probs: Any = option(None, "the same for probabilities.", reads="scores", brief="The same for probabilities.")
    log_probs: Any = option(
        None, "the same for log-probabilities.", reads="scores", brief="The same for log-probabilities."
    )
    losses: Any = option(
        None,
        "instead of predictions and a target, the column (or array) with the losses themselves, -log p of the target "
        "in nats: numbers, or lists of numbers, whose elements (the tokens of a document, say) are rows of their own. "
        "What needs predictions, as accuracy does, is absent.",
        reads="column",
        brief="Instead of predictions: column with losses, or with lists of them.",
    )
    target_log_probs: Any = option(
        None,
        "the same for log p of the target, as dumps of language models have it.",
        reads="column",
        brief="The same for log-probabilities of the target.",
    )
    task: Task = option(
        "multiclass",
        '"multiclass", "binary" or "multilabel".',
        choices=get_args(Task),
        brief="What a row is: C exclusive classes, one yes-or-no score, or L of them.",
    )
    weight: Any = option(
        None,
        "column (or array) of sample weights of at least 0.",
        reads="column",
        brief="Column with sample weights.",
        flag="--weight --sample-weight",
    )
    mask: Any = option(
        None,
        "column (or array) of bool that says which labels of a multilabel row count.",
        reads="column",
        brief="Column of lists of bool: which labels of a multilabel row count.",
    )
    class_names: Iterable[str] | None = option(
        None,
        "the classes in the order of the scores; needed for labels that are text.",
        reads="columns",
        metavar="A,B,...",
        brief="Classes in the order of the scores, for labels that are text.",
    )
    labels: Iterable[Any] | None = option(
        None,
        "the values by which the target names the classes, in the order of the scores, where these are not 0 to C - 1: "
        '``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.',
        reads="columns",
        metavar="V,V,...",
        brief="Values of the target in the order of the scores, such as 1,2,3 or -1,1.",
    )
    dtype: str | None = option(
        None,
        'kind of number in packed columns ("float16", "bfloat16", "float32", "float64").',
        brief="Numbers in packed columns: float16, bfloat16, float32, float64.",
    )
    axis: int | None = option(
        None,
        "the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T, V), 1 "
        "of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one value for "
        "each entry of the first axis counts for all its rows.",
        metavar="N",
        brief="Axis of the classes in arrays of more than two dimensions.",
    )
    target_file: Any = option(
        None,
        "a file (several, a table) of its own with the targets, where ``data`` has none: ``target`` is its column, and "
        "``on`` pairs its rows with those of ``data``. It is held in memory. A row without a target there is as one "
        'whose target is null; targets of no row are counted in ``run["notes"]``; ids that occur twice are an error.',
        reads="column",
        metavar="FILE",
        brief="File with the targets, paired with PATH by --on.",
    )
    on: str | Iterable[str] | None = option(
        None,
        "column, or columns, of ids that pair ``data`` with ``target_file``.",
        reads="columns",
        brief="Column of ids that pairs PATH with --target-file; or several columns.",
    )
    format: InputFormat | None = option(
        None,
        'what standard input holds, where ``data`` is "-": "csv", "tsv", "jsonl", or "arrow" for a stream of Arrow. It '
        "is read as it comes, in bounded memory.",
        annotation='Literal["csv", "tsv", "jsonl", "arrow"] | None',
        choices=get_args(InputFormat),
        brief="What standard input (PATH is -) holds.",
    )
    filter: Any = option(
        None,
        "which rows of ``data`` are read: text such as ``\"country == 'DE' and year >= 2024\"`` or a pyarrow "
        "expression. Hive partitions count as columns; the other rows are as if they were not there.",
        metavar="TEXT",
        brief="Rows to read, such as \"country == 'DE' and year >= 2024\".",
    )
    on_error: OnError = option(
        "raise",
        '"raise", or "skip" to leave out files and row groups that cannot be read, whole; what was left out is in the '
        "result's ``left_out`` and ``warnings``.",
        choices=get_args(OnError),
        brief="Leave out what cannot be read (skip), and exit with 4.",
    )
    ids: str | None = option(
        None,
        "column with lists of class ids, where ``probs`` or ``log_probs`` holds the top k of ``num_classes`` only; "
        "`fastxent.sources.decode.topk` says which statistics mean something then.",
        reads="column",
        brief="Lists of class ids, where the predictions are the top k only.",
    )
    num_classes: int | None = option(
        None,
        "the number of classes in all, for top-k predictions.",
        least=2,
        brief="Classes in all, for top-k predictions.",
    )
    verify_checksums: bool = option(
        False,
        "check page checksums of Parquet files that have them.",
        brief="Check page checksums where the files have them.",
    )

    def __post_init__(self) -> None:
        if self.class_names is not None:
            object.__setattr__(self, "class_names", tuple(self.class_names))
            check_distinct(self.class_names)
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(self.labels))

    @property
    def forms(self) -> dict[str, Any]:
        """The forms of predictions and of losses, of which one is given."""
        return {name: getattr(self, name) for name in _FORMS}

    @property
    def ready_made(self) -> bool:
        """Whether losses are read, and no predictions."""
        return any(getattr(self, name) is not None for name in READY)

    @property
    def columns(self) -> dict[str, str]:
        """Which column is read as what, where these are named."""
        if self.data is None:
            return {}
        found = {"target": self.target, **self.forms, "weight": self.weight, "mask": self.mask, "ids": self.ids}
        listed = {name: [value] if isinstance(value, str) else value for name, value in found.items()}
        return {name: ", ".join(map(str, value)) for name, value in listed.items() if isinstance(value, list | tuple)}

    @property
    def by_name(self) -> bool:
        """Whether what rides along is named by columns, and not given as arrays."""
        given = next((value for value in self.forms.values() if value is not None), None)
        return self.data is not None or isinstance(given, str | os.PathLike)

    @property
    def topk(self) -> bool:
        """Whether rows hold the top k of more classes."""
        return self.ids is not None or self.num_classes is not None
