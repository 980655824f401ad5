"""Per-row results from Python: `score` writes a file for all rows, or one for every input file."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from fastxent.api.evaluate import open_job
from fastxent.base.log_unit import Unit
from fastxent.data.spec import Loss, OnInvalid, Task
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.record import job_digest
from fastxent.engine.row_files.run import RowRun
from fastxent.engine.runners.threads import Progress
from fastxent.results.evaluation import Evaluation
from fastxent.results.finish import run_facts
from fastxent.sources.open import OnError
from fastxent.statistics.options import Binning
from fastxent.storage.output_paths import is_folder, is_path, refuse_inputs

__all__ = ["score"]


def score(
    data: Any,
    out_path: str | os.PathLike[str],
    target: Any = None,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    keep: str | Iterable[str] | Mapping[str, Any] = (),
    prefix: str = "",
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
    overwrite: bool = False,
    resume: bool = True,
    progress: Progress | None = None,
    group_by: Any = None,
    cluster_by: Any = None,
    units: Any = None,
    worst: int = 0,
    worst_per_class: int = 0,
    label_errors: int = 0,
    statistics: str | Iterable[str] = (),
    top_k: Iterable[int] | None = None,
    bins: int | None = None,
    binning: Binning = "equal_width",
    base: float | None = None,
) -> Evaluation:
    r"""Write the loss and the scores of every row beside the evaluation of all of them.

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

    Args:
        data: as for `fastxent.evaluate`; None if the predictions are arrays or ``.npy`` files.
        out_path: the Parquet file to write. A directory (one that exists, or a path that ends in a slash) gets
            one output for every input file, at the input's place below the directory that all inputs share;
            those that an earlier run has finished, of inputs that have not changed since, are not done again.
        target: column or array of targets, as for `fastxent.evaluate`.
        logits: the scores, as for `fastxent.evaluate`; give exactly one of ``logits``, ``probs`` and ``log_probs``.
        probs: the same for probabilities.
        log_probs: the same for log-probabilities.
        keep: names of the columns to copy to the output (and to keep with the worst rows); without ``data``, arrays
            by name.
        prefix: put before the names of the score columns.
        task: as for `fastxent.evaluate`, like all that follow but those about the output.
        weight: column (or array) of sample weights.
        mask: column (or array) that says which labels of a multilabel row count.
        loss: which loss; "kl_divergence" and "entropy" have no scores beside it.
        gamma: exponent of the focal loss.
        class_weight: weights by class.
        pos_weight: weight of the positive term of binary and multilabel losses.
        label_smoothing: in [0, 1].
        ignore_index: rows with this label are ignored.
        class_names: the classes in the order of the scores.
        on_invalid: "raise" (default); with "skip" and "propagate" invalid rows are written with their status.
        clip: clip probabilities.
        normalize: divide the probabilities of a row by their sum.
        dtype: kind of number in packed columns.
        threads: threads to use; all processors by default.
        memory: bytes of the data that all threads together may hold, or text such as "512M".
        verify_checksums: check page checksums of Parquet files that have them.
        filter: which rows of ``data`` are read; the others are not in the output.
        on_error: "skip" leaves out what cannot be read, whole; it is not in the output but in the result's
            ``left_out``. In a directory, files with something left out are done again by the next run.
        ids: column with lists of class ids, of top-k predictions.
        num_classes: the number of classes in all, for top-k predictions.
        overwrite: replace a file that exists. In a directory, outputs of the same call need no permission.
        resume: False does finished outputs in a directory again.
        progress: called with every finished split and the number of rows to do (-1 if unknown), from any thread.
        group_by: columns by whose values statistics are gathered as well.
        cluster_by: column of ids of rows that belong together.
        units: column with the number of units of a row.
        worst: so many rows of the highest loss are kept in the result.
        worst_per_class: the same for each true class.
        label_errors: so many rows that are likeliest to be labeled wrong are kept in the result.
        statistics: statistics beyond the usual ones.
        top_k: the k of top-k accuracies.
        bins: bins of the calibration.
        binning: how confidence is cut into bins.
        base: unit of the losses, in the output and in the result: None for nats, 2 for bits, 10 for bans.

    Returns:
        The `Evaluation` of all rows, those of finished outputs included.

    Raises:
        UsageError: the arguments contradict each other, or the output exists or would replace an input.
        SourceError: a file or a column is missing, damaged, or not what it should be.
        InvalidRowError: a row cannot be scored, and ``on_invalid`` is "raise".
        OutputError: the output cannot be written.

    Examples:
        >>> import fastxent as fx, pyarrow.parquet as pq, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ev = fx.score(None, f"{folder}/rows.parquet", logits=[[2.0, 0.0], [0.0, 2.0]], target=[0, 0])
        ...     rows = pq.read_table(f"{folder}/rows.parquet")
        >>> rows["rank"].to_pylist(), rows["status"].to_pylist(), ev.accuracy
        ([0, 1], ['scored', 'scored'], 0.5)

    References:
        Good (1952), "Rational decisions", J. R. Stat. Soc. B 14.
    """
    keywords = dict(locals())
    for own in ("out_path", "prefix", "overwrite", "resume", "progress"):
        del keywords[own]
    started = time.perf_counter()
    out = os.fspath(out_path)
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    keywords["copied"] = dict(keep) if isinstance(keep, Mapping) else kept
    if not (kept and (worst or worst_per_class or label_errors)):
        keywords["keep"] = None
    job, unit = open_job(**keywords), Unit(base)
    source, spec, measures = job.plan.source, job.plan.spec, job.plan.measures
    files = [value for value in (logits, probs, log_probs, target, weight) if data is None and is_path(value)]
    refuse_inputs(out, data, [*source.paths, *files])
    named = {
        name: value if isinstance(value, str) else list(value)
        for name, value in (("logits", logits), ("probs", probs), ("log_probs", log_probs))
        if value is not None and data is not None
    }
    columns = {} if data is None else {"target": target, "weight": weight, "mask": mask, "ids": ids}
    digest = job_digest(
        spec, keep=kept, prefix=prefix, dtype=dtype, filter=None if filter is None else str(filter),
        num_classes=num_classes, measures=dataclasses.asdict(measures), **named, **columns,
        **({} if unit.base is None else {"base": unit.base}),
    )  # fmt: skip
    names = source.class_names if job.topk else spec.class_names
    row_columns = RowColumns(spec, kept, prefix, scores=measures.scores, names=names, topk=job.topk, unit=unit)
    run = RowRun(job.plan, row_columns, digest, job.threads, progress)
    scored = run.into_folder(out, data, overwrite, resume) if is_folder(out) else run.into_file(out, overwrite)
    seconds = time.perf_counter() - started
    return job.evaluation(scored, run_facts(job.plan, job.threads, seconds, rows=run.rows, nbytes=run.nbytes))
