"""The main job from Python: `evaluate` opens a source, runs the engine over it, and reads the totals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastxent import engine
from fastxent.errors import UsageError
from fastxent.evaluation import Evaluation
from fastxent.losses import one_form
from fastxent.sources import OnError, Selection, Source, Split, open_arrays, open_source
from fastxent.spec import OnInvalid, Spec, Task
from fastxent.totals import Measures

__all__ = ["evaluate", "open_predictions"]


def evaluate(
    data: Any = None,
    target: Any = None,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    task: Task = "multiclass",
    weight: Any = None,
    mask: Any = None,
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    pos_weight: float | Iterable[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    class_names: Iterable[str] | None = None,
    on_invalid: OnInvalid = "raise",
    clip: float | str | None = None,
    normalize: bool = False,
    dtype: str | None = None,
    threads: int | None = None,
    memory: int | None = None,
    verify_checksums: bool = False,
    filter: Any = None,
    on_error: OnError = "raise",
    ids: str | None = None,
    num_classes: int | None = None,
    progress: Callable[[Split], None] | None = None,
) -> Evaluation:
    """Evaluate predictions where they lie: loss and statistics of all rows in one pass and bounded memory.

    The row loss is that of `fastxent.cross_entropy` (multiclass) or `fastxent.binary_cross_entropy`
    (binary, multilabel), in nats.

    Args:
        data: path, list of paths, glob or directory of Parquet files, or an Arrow table or frame. Left out,
            ``logits`` (``probs``, ``log_probs``) and ``target`` are arrays, or paths of ``.npy`` files.
        target: name of the column with the targets; without ``data`` an array (or path) of class indices
            (n,), of distributions (n, C), or of 0 and 1.
        logits: name of the column with the scores: a list, a packed or a struct column; or a list of names
            or a glob such as ``"p_*"``, one column a class. Give exactly one of ``logits``, ``probs`` and
            ``log_probs``. Without ``data`` an array (n, C), or (n,) for a binary task.
        probs: the same for probabilities.
        log_probs: the same for log-probabilities.
        task: "multiclass", "binary" or "multilabel".
        weight: column (or array) of sample weights of at least 0.
        mask: column (or array) of bool that says which labels of a multilabel row count.
        class_weight: weights by class, a sequence in class order or a dict.
        pos_weight: weight of the positive term of binary and multilabel losses.
        label_smoothing: in [0, 1].
        ignore_index: rows with this label are counted as ignored and enter nothing else.
        class_names: the classes in the order of the scores; needed for labels that are text.
        on_invalid: "raise" (default), "skip" and count, or "propagate" NaN.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch".
        normalize: divide the probabilities of a row by their sum.
        dtype: kind of number in packed columns ("float16", "bfloat16", "float32", "float64").
        threads: threads to use; all processors by default.
        memory: bytes of the data that all threads together may hold, about; 128 MiB a thread by default.
        verify_checksums: check page checksums of Parquet files that have them.
        filter: which rows of ``data`` are read: text such as ``"country == 'DE' and year >= 2024"`` or a pyarrow
            expression. Hive partitions count as columns; the other rows are as if they were not there.
        on_error: "raise", or "skip" to leave out files and row groups that cannot be read, whole; what was left out
            is in the result's ``left_out`` and ``warnings``.
        ids: column with lists of class ids, where ``probs`` or ``log_probs`` holds the top k of ``num_classes`` only;
            `fastxent.sources.topk` says which statistics mean something then.
        num_classes: the number of classes in all, for top-k predictions.
        progress: called after every finished split, from any thread.

    Returns:
        An `Evaluation`.

    Raises:
        UsageError: the arguments contradict each other.
        SourceError: a file or a column is missing, damaged, or not what it should be.
        InvalidRowError: a row cannot be scored, and ``on_invalid`` is "raise".

    Examples:
        >>> import fastxent as fx
        >>> ev = fx.evaluate(logits=[[2.0, 0.0], [0.0, 2.0]], target=[0, 0])
        >>> round(ev.loss, 6), ev.accuracy
        (1.126928, 0.5)
    """
    form, predictions = one_form(logits=logits, probs=probs, log_probs=log_probs)
    started = time.perf_counter()
    threads = engine.default_threads() if threads is None else threads
    names = None if class_names is None else tuple(class_names)
    source = open_predictions(
        data,
        predictions,
        target,
        task=task,
        weight=weight,
        mask=mask,
        class_names=names,
        dtype=dtype,
        memory=None if memory is None else max(1, memory // max(1, threads)),
        verify_checksums=verify_checksums,
        filter=filter,
        on_error=on_error,
        ids=ids,
        num_classes=num_classes,
        form=form,
    )
    topk = ids is not None or num_classes is not None
    if topk:
        if label_smoothing or class_weight is not None:
            raise UsageError("top-k predictions go with neither label_smoothing nor class_weight")
        if ignore_index is not None and ignore_index >= 0:
            raise UsageError(f"top-k predictions: leave out the label by filter='{target} != {ignore_index}'")
    spec = Spec.make(
        num_classes=source.num_classes,
        task=task,
        form=form,
        soft=source.dense_target,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        class_weight=class_weight,
        pos_weight=pos_weight,
        weighted=weight is not None,
        on_invalid=on_invalid,
        clip=clip,
        normalize=normalize,
        class_names=None if topk else names or source.class_names,
    )
    totals = engine.run(source, spec, Measures(), threads=threads, done=progress)
    left_out = list(source.left_out)
    evaluation = Evaluation(
        totals,
        run=_run_facts(source, threads, time.perf_counter() - started),
        warnings=[str(each) for each in left_out],
        left_out=left_out,
    )
    if topk:
        evaluation.warnings.append(_topk_warning(evaluation))
    return evaluation


def _topk_warning(evaluation: Evaluation) -> str:
    unseen = int(evaluation.totals.tallies.classes[-1, 0])
    return (
        f"top-k predictions: the target of {unseen:,} of {evaluation.num_rows:,} rows is not stored (they got an even "
        "share of the mass that is missing); Brier score, confusion and statistics by class mean nothing here"
    )


def open_predictions(data: Any, predictions: Any, target: Any, *, extra: tuple[str, ...] = (), **options: Any) -> Source:
    """The source that ``data`` names, or, without it, the one over arrays or the files that hold them."""
    if target is None:
        raise UsageError("target: name the column (or give the array) of the targets")
    if data is None:
        if options.pop("filter", None) is not None:
            raise UsageError("filter needs columns, which arrays do not have; slice the arrays")
        if options.pop("ids", None) is not None or options.pop("num_classes", None) is not None:
            raise UsageError("top-k predictions are read from tables: give data, and the names of the columns")
        for name in ("form", "memory", "verify_checksums", "on_error"):
            options.pop(name, None)
        if isinstance(predictions, str | os.PathLike):
            selection = Selection(
                predictions=(),
                target=os.fspath(target),
                extra=extra,
                **{k: v for k, v in options.items() if v is not None},
            )
            return open_source(os.fspath(predictions), selection)
        return open_arrays(predictions, target, **options)
    names = (predictions,) if isinstance(predictions, str) else tuple(predictions)
    how = ("memory", "verify_checksums", "filter", "on_error")
    reading = {name: options.pop(name) for name in how if name in options}
    selection = Selection(predictions=names, target=target, extra=extra, **options)
    return open_source(data, selection, **reading)


def _run_facts(source: Source, threads: int, seconds: float) -> dict[str, Any]:
    from fastxent import __version__

    return {
        "seconds": seconds,
        "bytes": sum(split.nbytes for split in source.splits()),
        "rows_per_second": source.num_rows / seconds if seconds else 0.0,
        "threads": threads,
        "paths": list(source.paths),
        "version": __version__,
    }
