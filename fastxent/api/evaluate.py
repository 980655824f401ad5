"""The main job from Python: `evaluate` opens a source, has its splits scored, and reads the totals."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from fastxent.api.losses import one_form
from fastxent.api.options import ASKED, asked
from fastxent.base.byte_size import byte_size
from fastxent.base.errors import UsageError
from fastxent.base.log_unit import Unit
from fastxent.data.spec import Form, Loss, OnInvalid, Spec, Task
from fastxent.engine.plan import Plan, Scored, plan_of
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.threads import Progress
from fastxent.results.evaluation import Evaluation, check_readings
from fastxent.results.finish import finish, run_facts
from fastxent.sources.object_kinds import is_array_file, is_paths
from fastxent.sources.open import OnError, Selection, Source, open_arrays, open_source
from fastxent.statistics.options import Binning

if TYPE_CHECKING:
    from fastxent.sources.dataset.dataset import Dataset

__all__ = ["Job", "evaluate", "open_job", "open_predictions", "prepare"]


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
    loss: Loss = "cross_entropy",
    gamma: float = 2.0,
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
    memory: int | str | None = None,
    verify_checksums: bool = False,
    filter: Any = None,
    on_error: OnError = "raise",
    ids: str | None = None,
    num_classes: int | None = None,
    progress: Progress | None = None,
    group_by: Any = None,
    cluster_by: Any = None,
    units: Any = None,
    worst: int = 0,
    worst_per_class: int = 0,
    keep: Any = None,
    label_errors: int = 0,
    statistics: str | Iterable[str] = (),
    top_k: Iterable[int] | None = None,
    bins: int | None = None,
    binning: Binning = "equal_width",
    base: float | None = None,
) -> Evaluation:
    r"""Evaluate predictions where they lie: loss and statistics of all rows in one pass and bounded memory.

    The row loss is that of `fastxent.cross_entropy` (multiclass) or `fastxent.binary_cross_entropy`
    (binary, multilabel), :math:`L = \log \sum_j e^{z_j - z_t}` for logits z and target t. It equals the
    program ::

        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        loss = -np.log(e[np.arange(len(target)), target] / e.sum(axis=1)).mean()
        accuracy = (logits.argmax(axis=1) == target).mean()

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
        loss: "cross_entropy", "focal" (`fastxent.focal_loss`), "kl_divergence" (of the predictions from the
            targets, which are in their form: logits beside ``logits``, ...) or "entropy" (of the predictions; the
            target is read and not used).
        gamma: exponent of the focal loss.
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
        memory: bytes of the data that all threads together may hold, about, or text such as "512M"; 256 MiB a thread
            by default.
        verify_checksums: check page checksums of Parquet files that have them.
        filter: which rows of ``data`` are read: text such as ``"country == 'DE' and year >= 2024"`` or a pyarrow
            expression. Hive partitions count as columns; the other rows are as if they were not there.
        on_error: "raise", or "skip" to leave out files and row groups that cannot be read, whole; what was left out
            is in the result's ``left_out`` and ``warnings``.
        ids: column with lists of class ids, where ``probs`` or ``log_probs`` holds the top k of ``num_classes`` only;
            `fastxent.sources.decode.topk` says which statistics mean something then.
        num_classes: the number of classes in all, for top-k predictions.
        progress: called with every finished split and the number of rows in all (-1 if unknown), from any thread.
        group_by: column, or several that are crossed, by whose values statistics are gathered as well
            (``ev.groups``, and ``ev.margins`` of each column; up to 100,000 groups). With arrays: an array, or a dict
            of arrays by name.
        cluster_by: column of ids of rows that belong together (documents, users): the standard error respects them.
        units: column with the number of units (bytes, words) of a row, for the loss per unit (``ev.units``).
        worst: so many rows of the highest loss are kept, of every group too (``ev.worst``, ``ev.group_worst``).
        worst_per_class: so many rows of the highest loss of each true class are kept (``ev.worst_per_class``).
        keep: columns whose values are kept with those rows.
        label_errors: so many rows that are likeliest to be labeled wrong are kept (``ev.label_errors``).
        statistics: "entropy" (of the predictions; multiclass), "ranking" (ROC AUC, average precision, thresholds;
            binary and multilabel), "temperature" (the loss of the logits divided by a grid of temperatures),
            "classwise" (calibration of every class, and the parts of the multiclass Brier score).
        top_k: the k of top-k accuracies; by default 1, 3, 5 and 10 below the number of classes.
        bins: bins of the calibration; by default 15, or what the library that ``binning`` names takes.
        binning: "equal_width", "equal_mass", "torchmetrics", "sklearn" or "netcal"; see `Evaluation.calibrate`.
        base: unit of the losses and entropies of the result: None for nats, 2 for bits, 10 for bans. Perplexities are
            the same in each, and what is called bits is bits.

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

    References:
        Good (1952), "Rational decisions", J. R. Stat. Soc. B 14, for the loss; Neal (2015), "Fast exact summation
        using small and large superaccumulators", arXiv 1505.05571, for its mean.
    """
    keywords = dict(locals())
    del keywords["progress"]
    started = time.perf_counter()
    job = open_job(**keywords)
    source = job.plan.source
    done = None if progress is None else lambda split: progress(split, source.num_rows)
    scored = on_threads.run(job.plan, job.threads, done=done)
    return job.evaluation(scored, run_facts(job.plan, job.threads, time.perf_counter() - started))


@dataclass(frozen=True, slots=True)
class Job:
    """A plan over a source that has been opened, and what is to be read of it."""

    plan: Plan
    threads: int
    topk: bool
    readings: Mapping[str, Any]

    def evaluation(self, scored: Scored, facts: dict[str, Any]) -> Evaluation:
        """What was scored, read, with ``facts`` about the run."""
        return finish(self.plan, scored, facts, topk=self.topk, **self.readings)


def open_job(
    data: Any,
    target: Any,
    *,
    loss: Loss,
    threads: int | None,
    memory: int | str | None,
    bins: int | None,
    binning: Binning,
    top_k: Iterable[int] | None,
    base: float | None,
    copied: tuple[str, ...] | Mapping[str, Any] | None = None,
    **options: Any,
) -> Job:
    """What the keywords of `evaluate` and `score` ask for, checked, with the source opened.

    ``options`` are those of `fastxent.api.options.asked`, `prepare` and `Spec.make`, each of which refuses what it does
    not
    know. ``copied`` are columns (without ``data``: arrays by name) that ride along beside those of the statistics.
    """
    given = next((options[form] for form in ("logits", "probs", "log_probs") if options[form] is not None), None)
    wanted = {name: options.pop(name) for name in ASKED}
    measures, extra = asked(by_name=data is not None or isinstance(given, str | os.PathLike), **wanted)
    threads = on_threads.thread_count(threads)
    share = None if memory is None else max(1, byte_size(memory) // threads)
    source, spec = prepare(
        data, target, loss=loss, memory=share, extra=extra if not copied else _together(extra, copied), **options
    )  # fmt: skip
    if not spec.definition.predicts_class:
        measures = dataclasses.replace(measures, scores=False)
    top_ks = None if top_k is None else tuple(top_k)
    check_readings(spec, measures, bins, binning, top_ks)
    topk = options["ids"] is not None or options["num_classes"] is not None
    readings = {"bins": bins, "binning": binning, "top_ks": top_ks, "base": Unit(base).base}
    return Job(plan_of(source, spec, measures), threads, topk, readings)


def _together(
    extra: tuple[str, ...] | Mapping[str, Any], copied: tuple[str, ...] | Mapping[str, Any]
) -> tuple[str, ...] | dict[str, Any]:
    """Columns for the statistics and columns to copy; of arrays, one name means one array."""
    if not isinstance(extra, Mapping) or not isinstance(copied, Mapping):
        return tuple(dict.fromkeys([*extra, *copied]))
    arrays = dict(extra)
    for name, array in copied.items():
        if arrays.setdefault(name, array) is not array:
            raise UsageError(f"keep: {name!r} names two different arrays")
    return arrays


def _check_topk(target: Any, options: dict[str, Any]) -> None:
    """The options that top-k predictions cannot go with."""
    if options.get("label_smoothing") or options.get("class_weight") is not None:
        raise UsageError("top-k predictions go with neither label_smoothing nor class_weight")
    ignore = options.get("ignore_index")
    if ignore is not None and ignore >= 0:
        raise UsageError(f"top-k predictions: leave out the label by filter='{target} != {ignore}'")


def prepare(
    data: Any,
    target: Any,
    *,
    logits: Any,
    probs: Any,
    log_probs: Any,
    task: Task,
    weight: Any,
    mask: Any,
    class_names: Iterable[str] | None,
    dtype: str | None,
    memory: int | None,
    verify_checksums: bool,
    filter: Any = None,
    on_error: OnError = "raise",
    ids: str | None = None,
    num_classes: int | None = None,
    extra: tuple[str, ...] | Mapping[str, Any] = (),
    **options: Any,
) -> tuple[Source, Spec]:
    """The opened source and the spec that the keywords mean.

    ``extra`` are columns (without ``data``: arrays by name) that ride along.
    """
    if _are_tables(data):
        from fastxent.sources.dataset.dataset import find_dataset

        data = find_dataset(data)
        forms = {"logits": logits, "probs": probs, "log_probs": log_probs}
        told = _told(data, forms, target, task, dtype, skips=on_error == "skip")
        form, predictions, target, task, dtype = told
    else:
        form, predictions = one_form(logits=logits, probs=probs, log_probs=log_probs)
    topk = ids is not None or num_classes is not None
    if topk:
        _check_topk(target, options)
    names = None if class_names is None else tuple(class_names)
    source = open_predictions(
        data,
        predictions,
        target,
        extra=extra,
        task=task,
        weight=weight,
        mask=mask,
        class_names=names,
        dtype=dtype,
        memory=memory,
        verify_checksums=verify_checksums,
        filter=filter,
        on_error=on_error,
        ids=ids,
        num_classes=num_classes,
        form=form,
    )
    spec = Spec.make(
        num_classes=source.num_classes,
        task=task,
        form=form,
        soft=source.dense_target,
        weighted=weight is not None,
        class_names=None if topk else names or source.class_names,
        **options,
    )
    return source, spec


def _are_tables(data: Any) -> bool:
    """Whether ``data`` names files of columns."""
    several = data if isinstance(data, (list, tuple)) else [data]
    return is_paths(data) and not any(map(is_array_file, several))


def _told(
    dataset: Dataset, forms: dict[str, Any], target: Any, task: Task, dtype: str | None, *, skips: bool
) -> tuple[Form, Any, Any, Task, str | None]:
    """Form, predictions, target, task and dtype: what the call says, and for the rest what the first file says.

    A task other than the default counts as said.
    """
    from fastxent.sources.dataset.description import describe_schema
    from fastxent.sources.dataset.infer import infer_selection

    file, footer = dataset.first_readable(skips=skips)
    found = describe_schema(footer.schema, (file.name,), dataset.format, footer.num_rows, len(footer.rows))
    if any(value is not None for value in forms.values()):
        form, predictions = one_form(**forms)
        names = (predictions,) if isinstance(predictions, str) else tuple(predictions)
        selection = infer_selection(found, predictions=names, target=target, task=task, dtype=dtype)
        return form, names, selection.target, task, selection.dtype
    selection = infer_selection(found, target=target, task=None if task == "multiclass" else task, dtype=dtype)
    said = next((each.form for each in found.predictions if each.columns == selection.predictions), None)
    if said is None:
        shown = ", ".join(selection.predictions[:4])
        raise UsageError(f"say what {shown!r} holds: logits=, probs= or log_probs= (--logits, --probs, --log-probs)")
    return cast(Form, said), selection.predictions, selection.target, selection.task, selection.dtype


def open_predictions(
    data: Any, predictions: Any, target: Any, *, extra: tuple[str, ...] | Mapping[str, Any] = (), **options: Any
) -> Source:
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
                extra=tuple(extra),
                **{k: v for k, v in options.items() if v is not None},
            )
            return open_source(os.fspath(predictions), selection)
        if extra and not isinstance(extra, Mapping):
            raise UsageError(
                f"without data there are no columns {', '.join(extra)}; give arrays by name: keep={{'id': ids}}"
            )
        return open_arrays(predictions, target, extra=dict(extra) if isinstance(extra, Mapping) else None, **options)
    names = (predictions,) if isinstance(predictions, str) else tuple(predictions)
    how = ("memory", "verify_checksums", "filter", "on_error")
    reading = {name: options.pop(name) for name in how if name in options}
    selection = Selection(predictions=names, target=target, extra=tuple(extra), **options)
    return open_source(data, selection, **reading)
