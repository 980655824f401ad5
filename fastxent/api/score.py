"""Per-row results from Python: `score` gives a table, or writes a file for all rows or one for every input file."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fastxent.api.doubt import warn
from fastxent.api.job import ExtraColumns, open_job
from fastxent.api.spoken import spoken
from fastxent.base.log_unit import Unit
from fastxent.data.options import LossOptions
from fastxent.engine.compile_clock import compile_clock
from fastxent.engine.options import Progress, RunOptions
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.record import job_digest
from fastxent.engine.row_files.run import RowRun
from fastxent.results.finish import run_facts
from fastxent.sources.options import Inputs
from fastxent.statistics.options import Measures, Readings, requested
from fastxent.storage.output_paths import is_folder, is_path, refuse_inputs

__all__ = ["score"]


@spoken
def score(
    data: Any = None,
    out_path: str | os.PathLike[str] | None = None,
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
    keep: str | Iterable[str] | Mapping[str, Any] = (),
    prefix: str = "",
    overwrite: bool = False,
    resume: bool = True,
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
    label_errors: int = 0,
    statistics: str | Iterable[str] = (),
    top_k: Iterable[int] | None = None,
    bins: int | None = None,
    binning: Literal["equal_width", "equal_mass", "torchmetrics", "sklearn", "netcal"] = "equal_width",
    base: float | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    runner: Any = None,
    progress: Progress | None = None,
) -> Any:
    r"""Give the loss and the scores of every row: as an Arrow table, or in a file beside the evaluation of all rows.

    The output has exactly one row for every row that is read, in its order: the columns of ``keep``, then

    - ``loss``: float64, the bits of `fastxent.cross_entropy` with the same ``base`` and ``reduction="none"``; class
      weights are in it, sample weights are not. The field's metadata name the ``unit``,
    - ``predicted``: the class with the greatest score, and ``predicted_name`` where classes have names,
    - ``confidence``: the probability of the predicted class,
    - ``p_target``: the probability of the target class (of the likeliest, if the target is a distribution),
    - ``rank``: how many classes come before the target class; 0 if it is the predicted one,
    - ``status``: "scored", "ignored", or why the row is invalid; rows not scored have nulls before it.

    Of top-k predictions ``predicted`` is the class id (null if the likeliest class is none of those stored), and
    ``stored`` before the status says whether the target is among them; where it is not, ``p_target`` is its even
    share of the mass that is missing and ``rank`` the number of stored classes that are likelier.

    With :math:`L = \log \sum_j e^{z_j - z_t}` for logits z and target t, it equals the program ::

        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        p_target = p[np.arange(len(target)), target]
        loss, confidence, predicted = -np.log(p_target), p.max(axis=1), p.argmax(axis=1)

    Multilabel rows have ``loss`` and ``status`` only. The file appears when it is whole: an error, a full
    disk or Ctrl-C leave nothing that could be taken for it.
    Text (``.csv``) holds every digit of the numbers and no types.

    Args:
        data: path, list of paths, glob or directory of Parquet files, or an Arrow table or frame. Left out, ``logits``
            (``probs``, ``log_probs``) and ``target`` are arrays, or paths of ``.npy`` files.
        out_path: the file to write: Parquet, or CSV or TSV if it is named so (``rows.csv``, ``rows.tsv.gz``); None: the
            rows are returned as an Arrow table. A directory (one that exists, or a path that ends in a slash) gets one
            output for every input file, at the input's place below the directory that all inputs share; those that an
            earlier run has finished, of inputs that have not changed since, are not done again. Files and directories
            may lie in an object store (``s3://bucket/rows/``).
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
        filter: which rows of ``data`` are read, as for `fastxent.evaluate`; the others are not in the output.
        on_error: "skip" leaves out what cannot be read, whole; it is not in the output but in the result's
            ``left_out``. In a directory, files with something left out are done again by the next run.
        ids: column with lists of class ids, where ``probs`` or ``log_probs`` holds the top k of ``num_classes`` only;
            `fastxent.sources.decode.topk` says which statistics mean something then.
        num_classes: the number of classes in all, for top-k predictions.
        verify_checksums: check page checksums of Parquet files that have them.
        keep: names of the columns to copy to the output (and to keep with the worst rows); without ``data``, arrays by
            name.
        prefix: put before the names of the score columns.
        overwrite: replace a file that exists. In a directory, outputs of the same call need no permission.
        resume: False does finished outputs in a directory again.
        loss: "cross_entropy", "entropy" (of the predictions; the target is read and not used), "focal"
            (`fastxent.focal_loss`), "kl_divergence" (of the predictions from the targets, which are in their form:
            logits beside ``logits``, ...), "poly1" (`fastxent.poly1_loss`).
        class_weight: weights by class, a sequence in class order or a dict.
        pos_weight: weight of the positive term of binary and multilabel losses, one number or one a label.
        label_reduction: the loss of a multilabel row: the "mean" of its labels' losses (Keras, torch), or their "sum".
        label_smoothing: in [0, 1].
        ignore_index: rows with this label are counted as ignored and enter nothing else.
        on_invalid: "raise"; with "skip" and "propagate" invalid rows are written with their status.
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
        label_errors: so many rows that are likeliest to be labeled wrong are kept (``ev.label_errors``).
        statistics: "entropy" (of the predictions; multiclass), "ranking" (ROC AUC, average precision, curves and
            thresholds of labels, and of classes each against the rest; of binary tasks finer than those that there are
            anyway), "temperature" (the loss of the logits divided by a grid of temperatures), "classwise" (calibration
            of every class, and the parts of the multiclass Brier score).
        top_k: the k of top-k accuracies; by default 1, 3, 5 and 10 below the number of classes.
        bins: bins of the calibration; by default 15, or what the library that ``binning`` names takes.
        binning: how confidence is cut into bins; see `Evaluation.calibrate`.
        base: unit of the losses, in the output and in the result: None for nats, 2 for bits, 10 for bans.
        threads: threads to use; all processors by default.
        memory: bytes of the data that all threads together may hold, about, or text such as "512M"; 256 MiB a thread by
            default.
        runner: who scores: this process on threads (None); other processes ("processes", "processes:4"); or a cluster:
            a `dask.distributed.Client` or its "tcp://host:8786", a SparkSession or "spark://host:7077", "local[4]", or
            "ray", "ray://host:10001". The result has the same bits. Workers read the files themselves, so they must see
            them; ``memory`` is then that of one task.
        progress: called with every finished split and the number of rows in all (-1 if unknown), from any thread.

    Returns:
        The `Evaluation` of all rows, those of finished outputs included; without ``out_path`` a `pyarrow.Table`.

    Raises:
        UsageError: the arguments contradict each other, or the output exists, would replace an input, or is named
            as a format that is not written.
        SourceError: a file or a column is missing, damaged, or not what it should be.
        InvalidRowError: a row cannot be scored, and ``on_invalid`` is "raise".
        OutputError: the output cannot be written.

    Examples:
        >>> import fastxent as fx, pyarrow.parquet as pq, tempfile
        >>> fx.score(logits=[[2.0, 0.0], [0.0, 2.0]], target=[0, 0])["loss"].to_pylist()
        [0.1269280110429725, 2.1269280110429727]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ev = fx.score(None, f"{folder}/rows.parquet", logits=[[2.0, 0.0], [0.0, 2.0]], target=[0, 0])
        ...     rows = pq.read_table(f"{folder}/rows.parquet")
        >>> rows["rank"].to_pylist(), rows["status"].to_pylist(), ev.accuracy
        ([0, 1], ['scored', 'scored'], 0.5)

    References:
        Good (1952), "Rational decisions", J. R. Stat. Soc. B 14.
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
    kept = extra.several("keep", keep)
    if not (worst or worst_per_class or label_errors):
        keep = ()
    measures = Measures(
        group_by=extra.several("group_by", group_by), cluster_by=extra.one("cluster_by", cluster_by),
        units=extra.one("units", units), worst=worst, worst_per_class=worst_per_class, keep=extra.several("keep", keep),
        label_errors=label_errors, statistics=requested(statistics),
    )  # fmt: skip
    readings = Readings(top_k=top_k, bins=bins, binning=binning, base=base)
    run_options = RunOptions(threads=threads, memory=memory, runner=runner, progress=progress)
    job = open_job(inputs, loss_options, measures, readings, run_options, extra, rows=True)
    unit = Unit(base)
    source, spec, measures = job.plan.source, job.plan.spec, job.plan.measures
    names = source.class_names if job.topk else spec.class_names
    row_columns = RowColumns(spec, kept, prefix, scores=measures.scores, names=names, topk=job.topk, unit=unit)
    if out_path is None:
        run = RowRun(job.plan, row_columns, "", job.runner, progress)
        with job.runner:
            table, scored = run.as_table()
        warn(job.evaluation(scored, {}).doubts)
        return table
    out = os.fspath(out_path).removeprefix("file://")
    files = [value for value in (*inputs.forms.values(), target, weight) if data is None and is_path(value)]
    refuse_inputs(out, data, [*source.paths, *files])
    named = {
        name: value if isinstance(value, str) else list(value)
        for name, value in inputs.forms.items()
        if value is not None and data is not None
    }
    columns = {} if data is None else {"target": target, "weight": weight, "mask": mask, "ids": ids}
    digest = job_digest(
        spec, keep=kept, prefix=prefix, dtype=dtype, filter=None if filter is None else str(filter),
        num_classes=num_classes, measures=dataclasses.asdict(measures), **named, **columns,
        **({} if unit.base is None else {"base": unit.base}),
        **({} if inputs.labels is None else {"labels": list(map(str, inputs.labels))}),
        **({"targets": source.digest} if source.digest else {}),
    )  # fmt: skip
    run = RowRun(job.plan, row_columns, digest, job.runner, progress)
    with compile_clock() as compiling, job.runner:
        scored = run.into_folder(out, data, overwrite, resume) if is_folder(out) else run.into_file(out, overwrite)
    seconds = time.perf_counter() - started
    facts = run_facts(
        job.plan, job.runner, scored, seconds, compiling=compiling.seconds, rows=run.rows, nbytes=run.nbytes
    )
    result = job.evaluation(scored, facts)
    warn(result.doubts)
    return result
