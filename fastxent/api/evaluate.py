"""The main job from Python: `evaluate` opens a source, has its splits scored, and reads the totals."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fastxent.api.doubt import warn
from fastxent.api.job import ExtraColumns, open_job
from fastxent.api.spoken import spoken
from fastxent.data.options import LossOptions
from fastxent.engine.compile_clock import compile_clock
from fastxent.engine.options import Progress, RunOptions
from fastxent.engine.run import score_plan
from fastxent.results.evaluation import Evaluation
from fastxent.results.finish import run_facts
from fastxent.sources.options import Inputs
from fastxent.statistics.options import Measures, Readings, requested

__all__ = ["evaluate"]


@spoken
def evaluate(
    data: Any = None,
    target: Any = None,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    losses: Any = None,
    target_log_probs: Any = None,
    task: Literal["multiclass", "binary", "multilabel"] = "multiclass",
    weight: Any = None,
    mask: Any = None,
    class_names: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    dtype: str | None = None,
    axis: int | None = None,
    target_file: Any = None,
    on: str | Iterable[str] | None = None,
    format: Literal["csv", "tsv", "jsonl", "arrow"] | None = None,
    filter: Any = None,
    on_error: Literal["raise", "skip"] = "raise",
    ids: str | None = None,
    num_classes: int | None = None,
    verify_checksums: bool = False,
    loss: Literal["cross_entropy", "entropy", "focal", "kl_divergence", "poly1"] = "cross_entropy",
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    pos_weight: float | Iterable[float] | None = None,
    label_reduction: Literal["mean", "sum"] = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    on_invalid: Literal["raise", "skip", "propagate"] = "raise",
    clip: float | str | None = None,
    normalize: bool = False,
    gamma: float = 2.0,
    epsilon: float = 1.0,
    group_by: Any = (),
    cluster_by: Any = None,
    units: Any = None,
    worst: int = 0,
    worst_per_class: int = 0,
    keep: Any = (),
    label_errors: int = 0,
    statistics: str | Iterable[str] = (),
    top_k: Iterable[int] | None = None,
    bins: int | None = None,
    binning: Literal["equal_width", "equal_mass", "torchmetrics", "sklearn", "netcal"] = "equal_width",
    base: float | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    runner: Any = None,
    ledger: str | os.PathLike[str] | None = None,
    shard: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    r"""Evaluate predictions where they lie: loss and statistics of all rows in one pass and bounded memory.

    The row loss is that of `fastxent.cross_entropy` (multiclass) or `fastxent.binary_cross_entropy`
    (binary, multilabel), :math:`L = \log \sum_j e^{z_j - z_t}` for logits z and target t. It equals the
    program ::

        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        loss = -np.log(e[np.arange(len(target)), target] / e.sum(axis=1)).mean()
        accuracy = (logits.argmax(axis=1) == target).mean()

    Args:
        data: path, list of paths, glob or directory of Parquet files, or an Arrow table or frame. Left out, ``logits``
            (``probs``, ``log_probs``) and ``target`` are arrays, or paths of ``.npy`` files.
        target: name of the column with the targets; without ``data`` an array (or path) of class indices (n,), of
            distributions (n, C), or of 0 and 1.
        logits: name of the column with the scores: a list, a packed or a struct column; or a list of names or a glob
            such as ``"p_*"``, one column a class. Give exactly one of ``logits``, ``probs`` and ``log_probs``, or none
            where the files say it themselves (`PredictionWriter`'s do). Of arrays (n, C), or (n,) for a binary task.
        probs: the same for probabilities.
        log_probs: the same for log-probabilities.
        losses: instead of predictions and a target, the column (or array) with the losses themselves, -log p of the
            target in nats: numbers, or lists of numbers, whose elements (the tokens of a document, say) are rows of
            their own. What needs predictions, as accuracy does, is absent.
        target_log_probs: the same for log p of the target, as dumps of language models have it.
        task: "multiclass", "binary" or "multilabel".
        weight: column (or array) of sample weights of at least 0.
        mask: column (or array) of bool that says which labels of a multilabel row count.
        class_names: the classes in the order of the scores; needed for labels that are text.
        labels: the values by which the target names the classes, in the order of the scores, where these are not 0 to C
            - 1: ``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.
        dtype: kind of number in packed columns ("float16", "bfloat16", "float32", "float64").
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
        target_file: a file (several, a table) of its own with the targets, where ``data`` has none: ``target`` is its
            column, and ``on`` pairs its rows with those of ``data``. It is held in memory. A row without a target there
            is as one whose target is null; targets of no row are counted in ``run["notes"]``; ids that occur twice are
            an error.
        on: column, or columns, of ids that pair ``data`` with ``target_file``.
        format: what standard input holds, where ``data`` is "-": "csv", "tsv", "jsonl", or "arrow" for a stream of
            Arrow. It is read as it comes, in bounded memory.
        filter: which rows of ``data`` are read: text such as ``"country == 'DE' and year >= 2024"`` or a pyarrow
            expression. Hive partitions count as columns; the other rows are as if they were not there.
        on_error: "raise", or "skip" to leave out files and row groups that cannot be read, whole; what was left out is
            in the result's ``left_out`` and ``warnings``.
        ids: column with lists of class ids, where ``probs`` or ``log_probs`` holds the top k of ``num_classes`` only;
            `fastxent.sources.decode.topk` says which statistics mean something then.
        num_classes: the number of classes in all, for top-k predictions.
        verify_checksums: check page checksums of Parquet files that have them.
        loss: "cross_entropy", "entropy" (of the predictions; the target is read and not used), "focal"
            (`fastxent.focal_loss`), "kl_divergence" (of the predictions from the targets, which are in their form:
            logits beside ``logits``, ...), "poly1" (`fastxent.poly1_loss`).
        class_weight: weights by class, a sequence in class order or a dict.
        pos_weight: weight of the positive term of binary and multilabel losses, one number or one a label.
        label_reduction: the loss of a multilabel row: the "mean" of its labels' losses (Keras, torch), or their "sum".
        label_smoothing: in [0, 1].
        ignore_index: rows with this label are counted as ignored and enter nothing else.
        on_invalid: "raise", "skip" and count, or "propagate" NaN.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        gamma: exponent of the focal loss, at least 0; 0 gives the cross-entropy.
        epsilon: weight that the Poly-1 loss adds to 1 - p, at least -1; 0 gives the cross-entropy.
        group_by: column, or several that are crossed, by whose values statistics are gathered as well (``ev.groups``,
            and ``ev.margins`` of each column; up to 100,000 groups). With arrays: an array, or a dict of arrays by
            name. Numbers by edges: ``"age:0,18,65"``, or of columns ``{"age": [0, 18, 65]}``; by quantiles:
            ``"length:q10"``, for which the column is read once more beforehand.
        cluster_by: column of ids of rows that belong together (documents, users): the standard error respects them.
        units: column with the number of units (bytes, words) of a row, for the loss per unit (``ev.units``).
        worst: so many rows of the highest loss are kept, of every group too (``ev.worst``, ``ev.group_worst``).
        worst_per_class: so many rows of the highest loss of each true class are kept (``ev.worst_per_class``).
        keep: columns whose values are kept with those rows.
        label_errors: so many rows that are likeliest to be labeled wrong are kept (``ev.label_errors``).
        statistics: "entropy" (of the predictions; multiclass), "ranking" (ROC AUC, average precision, curves and
            thresholds of labels, and of classes each against the rest; of binary tasks finer than those that there are
            anyway), "temperature" (the loss of the logits divided by a grid of temperatures), "classwise" (calibration
            of every class, and the parts of the multiclass Brier score).
        top_k: the k of top-k accuracies; by default 1, 3, 5 and 10 below the number of classes.
        bins: bins of the calibration; by default 15, or what the library that ``binning`` names takes.
        binning: how confidence is cut into bins; see `Evaluation.calibrate`.
        base: unit of the losses and entropies of the result: None for nats, 2 for bits, 10 for bans. Perplexities are
            the same in each, and what is called bits is bits.
        threads: threads to use; all processors by default.
        memory: bytes of the data that all threads together may hold, about, or text such as "512M"; 256 MiB a thread by
            default.
        runner: who scores: this process on threads (None); other processes ("processes", "processes:4"); or a cluster:
            a `dask.distributed.Client` or its "tcp://host:8786", a SparkSession or "spark://host:7077", "local[4]", or
            "ray", "ray://host:10001". The result has the same bits. Workers read the files themselves, so they must see
            them; ``memory`` is then that of one task.
        ledger: a file that notes which splits are finished and what they left behind, so that the same call goes on
            after whatever ended it, with the bytes of an undisturbed run. It is made if it is not there; of other data
            (changed files too), options or another version it is refused.
        shard: "3/100" scores the third of a hundred parts of about as many bytes each, for arrays of jobs; their states
            (``--state``) are put together by ``fastxent merge``, to the bytes of one run.
        progress: called with every finished split and the number of rows in all (-1 if unknown), from any thread.

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
    started = time.perf_counter()
    inputs = Inputs(
        data=data, target=target, logits=logits, probs=probs, log_probs=log_probs, losses=losses,
        target_log_probs=target_log_probs, task=task, weight=weight, mask=mask, class_names=class_names, labels=labels,
        dtype=dtype, axis=axis, target_file=target_file, on=on, format=format, filter=filter, on_error=on_error,
        ids=ids, num_classes=num_classes, verify_checksums=verify_checksums,
    )  # fmt: skip
    loss_options = LossOptions(
        loss=loss, class_weight=class_weight, pos_weight=pos_weight, label_reduction=label_reduction,
        label_smoothing=label_smoothing, ignore_index=ignore_index, on_invalid=on_invalid, clip=clip,
        normalize=normalize, own={"gamma": gamma, "epsilon": epsilon},
    )  # fmt: skip
    extra = ExtraColumns(by_name=inputs.by_name)
    measures = Measures(
        group_by=extra.several("group_by", group_by), cluster_by=extra.one("cluster_by", cluster_by),
        units=extra.one("units", units), worst=worst, worst_per_class=worst_per_class, keep=extra.several("keep", keep),
        label_errors=label_errors, statistics=requested(statistics),
    )  # fmt: skip
    readings = Readings(top_k=top_k, bins=bins, binning=binning, base=base)
    run_options = RunOptions(
        threads=threads, memory=memory, runner=runner, ledger=ledger, shard=shard, progress=progress,
    )  # fmt: skip
    job = open_job(inputs, loss_options, measures, readings, run_options, extra)
    source = job.plan.source
    total = source.num_rows if shard is None else sum(split.num_rows for split in job.plan.splits)
    done = None if progress is None else lambda split: progress(split, total)
    with compile_clock() as compiling, job.runner, job.ledger(ledger, inputs) as book:
        scored = score_plan(job.plan, job.runner, done=done, ledger=book)
    seconds = time.perf_counter() - started
    facts = run_facts(job.plan, job.runner, scored, seconds, compiling=compiling.seconds, shard=job.shard)
    result = job.evaluation(scored, facts | ({"columns": inputs.columns} if inputs.columns else {}))
    warn(result.doubts)
    return result
