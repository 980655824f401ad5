"""Two sets of predictions of the same rows, paired: is one really better, by how much, and where?

Each side is scored once, rows are joined (`fastxent.comparison.pairing`), and what the pairs say is summed up exactly
(`fastxent.comparison.differences`), of all rows and of every group (`fastxent.comparison.pair_sums`).
"""

from __future__ import annotations

import itertools
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fastxent.api.doubt import warn
from fastxent.api.job import ExtraColumns, edges_of, prepare
from fastxent.api.spoken import spoken
from fastxent.base.byte_size import byte_size
from fastxent.base.errors import DataError, FastxentError, UsageError
from fastxent.base.log_unit import Unit
from fastxent.base.version import origin
from fastxent.comparison.pair_sums import Joined, has_classes
from fastxent.comparison.pairing import Pairs, need_duckdb
from fastxent.comparison.result import Comparison
from fastxent.comparison.sign_flip import check_permutations
from fastxent.comparison.spool import Spooled, spool_rows
from fastxent.comparison.spool_folder import spool_folder
from fastxent.data.options import LossOptions
from fastxent.data.spec import Spec
from fastxent.engine.compile_clock import compile_clock
from fastxent.engine.options import Progress
from fastxent.engine.plan import plan_of
from fastxent.engine.runners.choose import check_travels, runner_of
from fastxent.engine.runners.runner import Runner
from fastxent.engine.runners.threads import Done, thread_count
from fastxent.results.evaluation import Evaluation
from fastxent.results.finish import finish
from fastxent.sources.decode.flat_lists import PLACE
from fastxent.sources.labeled import Labels, label_column
from fastxent.sources.object_kinds import is_paths, is_table
from fastxent.sources.open import Source
from fastxent.sources.options import Inputs
from fastxent.statistics.group_bins import bin_name
from fastxent.statistics.options import MOST_ROWS, Measures, Readings
from fastxent.statistics.statistic import predicts_class

__all__ = ["compare"]

#: What DuckDB may hold before it spills to disk.
JOIN_MEMORY = 1 << 30
#: Characters of an id that errors show.
LONGEST = 80


@spoken
def compare(
    a: Any = None,
    b: Any = None,
    target: Any = None,
    *,
    on: str | Sequence[str] | None = None,
    by_order: bool = False,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    losses: Any = None,
    target_log_probs: Any = None,
    b_logits: Any = None,
    b_probs: Any = None,
    b_log_probs: Any = None,
    b_losses: Any = None,
    b_target_log_probs: Any = None,
    b_target: Any = None,
    group_by: str | Sequence[str] = (),
    cluster_by: str | None = None,
    k: int = 10,
    permutations: int = 0,
    seed: int = 0,
    task: Literal["multiclass", "binary", "multilabel"] = "multiclass",
    weight: Any = None,
    mask: Any = None,
    class_names: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    dtype: str | None = None,
    target_file: Any = None,
    format: Literal["csv", "tsv", "jsonl", "arrow"] | None = None,
    filter: Any = None,
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
    threads: int | None = None,
    memory: int | str | None = None,
    runner: Any = None,
    progress: Progress | None = None,
    base: float | None = None,
) -> Comparison:
    """Compare two sets of predictions of the same rows: the mean difference of their losses with its interval.

    Rows are paired by id (``on``) or by their order (``by_order``). Rows that only one side has are counted and named;
    a repeated id, or one with another target on the other side, is an error. Joining is done by DuckDB (extra
    ``compare``) on the row losses alone, and goes to disk where they do not fit in ``memory``; the temporary files
    lie where ``TMPDIR`` says.

    Args:
        a: the first set, as the ``data`` of `evaluate`. Left out, like ``b``, the predictions are arrays.
        b: the second set; None for another column of ``a``.
        target: the column with the targets, or the array of them.
        on: column, or columns, whose values name a row.
        by_order: pair the first row with the first, and so on; arrays always are.
        logits: name of the column with the scores: a list, a packed or a struct column; or a list of names or a glob
            such as ``"p_*"``, one column a class. Give exactly one of ``logits``, ``probs`` and ``log_probs``, or none
            where the files say it themselves (`PredictionWriter`'s do). Of arrays (n, C), or (n,) for a binary task.
        probs: the same for probabilities.
        log_probs: the same for log-probabilities.
        losses: instead of predictions and a target, the column (or array) with the losses themselves, -log p of the
            target in nats: numbers, or lists of numbers, whose elements (the tokens of a document, say) are rows of
            their own. What needs predictions, as accuracy does, is absent.
        target_log_probs: the same for log p of the target, as dumps of language models have it.
        b_logits: column of the second set, where it has another name or form; likewise ``b_probs``, ``b_log_probs``,
            ``b_losses`` and ``b_target_log_probs``.
        b_probs: see ``b_logits``.
        b_log_probs: see ``b_logits``.
        b_losses: see ``b_logits``.
        b_target_log_probs: see ``b_logits``.
        b_target: column with the targets of the second set, where it has another name.
        group_by: columns of ``a``: the comparison is also made for each of their values.
        cluster_by: column of ``a`` that says which rows belong together (a document, a user); standard errors are then
            those of clusters.
        k: how many of the rows that changed most are kept, each way.
        permutations: so many replicates of a sign-flip permutation test of the loss difference (of clusters, with
            ``cluster_by``): a p-value that assumes no distribution, for all rows and for every group. 9999 is usual; 0
            makes no test.
        seed: of the signs of that test.
        task: "multiclass", "binary" or "multilabel".
        weight: column of ``a`` (or array) with sample weights: means, differences and their errors are weighted.
        mask: column (or array) of bool that says which labels of a multilabel row count.
        class_names: the classes in the order of the scores; needed for labels that are text.
        labels: the values by which the target names the classes, in the order of the scores, where these are not 0 to C
            - 1: ``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.
        dtype: kind of number in packed columns ("float16", "bfloat16", "float32", "float64").
        target_file: a file (several, a table) of its own with the targets of both sides, where these have none:
            ``target`` is its column, and ``on`` pairs its rows with theirs, as in `evaluate`. It is held in memory.
        format: what standard input holds, where ``data`` is "-": "csv", "tsv", "jsonl", or "arrow" for a stream of
            Arrow. It is read as it comes, in bounded memory.
        filter: which rows of both sides are read, as in `evaluate`; the others are counted. A row that only one side
            keeps is only on that side. With ``by_order`` rows keep the places they have without the filter.
        verify_checksums: check page checksums of Parquet files that have them.
        loss: "cross_entropy", "entropy" (of the predictions; the target is read and not used), "focal"
            (`fastxent.focal_loss`), "kl_divergence" (of the predictions from the targets, which are in their form:
            logits beside ``logits``, ...), "poly1" (`fastxent.poly1_loss`).
        class_weight: weights by class, a sequence in class order or a dict.
        pos_weight: weight of the positive term of binary and multilabel losses, one number or one a label.
        label_reduction: the loss of a multilabel row: the "mean" of its labels' losses (Keras, torch), or their "sum".
        label_smoothing: in [0, 1].
        ignore_index: rows with this label are counted as ignored and enter nothing else.
        on_invalid: "raise", or "skip": a row that one side cannot score is left out on both, and counted.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        gamma: exponent of the focal loss, at least 0; 0 gives the cross-entropy.
        epsilon: weight that the Poly-1 loss adds to 1 - p, at least -1; 0 gives the cross-entropy.
        threads: threads to use; all processors by default.
        memory: bytes that the threads, and then the join before it goes to disk, may hold, about, or text such as
            "512M"; by default 256 MiB a thread, and 1 GiB.
        runner: who scores: this process on threads (None); other processes ("processes", "processes:4"); or a cluster:
            a `dask.distributed.Client` or its "tcp://host:8786", a SparkSession or "spark://host:7077", "local[4]", or
            "ray", "ray://host:10001". The result has the same bits. Workers read the files themselves, so they must see
            them; ``memory`` is then that of one task.
        progress: called with every finished split of either side and the number of rows of both, from any thread.
        base: unit of the losses and their differences: None for nats, 2 for bits, 10 for bans.

    Returns:
        A `Comparison`; its ``delta`` is A - B, positive where B has the lower loss. ``difference("auc")``, "f1", "mcc",
        "ece" and the like (``statistics``) have intervals and p-values of their own, from the same pairs.

    Raises:
        UsageError: the arguments contradict each other.
        DataError: ids occur twice, or their targets differ; row counts differ in a comparison by order.

    Examples:
        >>> import fastxent as fx
        >>> good, poor = [[3.0, 0.0], [0.0, 3.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 1.5], [0.5, 0.0]]
        >>> c = fx.compare(logits=poor, b_logits=good, target=[0, 1, 0])
        >>> round(c.delta.mean, 4), c.outcome.wins
        (0.2549, {'a': 0, 'b': 3, 'ties': 0})
    """
    need_duckdb()
    unit = Unit(base)
    started = time.perf_counter()
    check_permutations(permutations, seed)
    _check_data(a, b)
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 0 <= k <= MOST_ROWS:
        raise UsageError(f"k: expected a number of rows up to {MOST_ROWS:,}, got {k!r}")
    keys = _keys(on, by_order, arrays=a is None)
    inputs = Inputs(
        target=target, logits=logits, probs=probs, log_probs=log_probs, losses=losses,
        target_log_probs=target_log_probs, task=task, weight=weight, mask=mask, class_names=class_names, labels=labels,
        dtype=dtype, target_file=target_file, on=on, format=format, filter=filter, verify_checksums=verify_checksums,
    )  # fmt: skip
    loss_options = LossOptions(
        loss=loss, class_weight=class_weight, pos_weight=pos_weight, label_reduction=label_reduction,
        label_smoothing=label_smoothing, ignore_index=ignore_index, on_invalid=on_invalid, clip=clip,
        normalize=normalize, own={"gamma": gamma, "epsilon": epsilon},
    )  # fmt: skip
    columns = ExtraColumns(by_name=True)
    groups = tuple(dict.fromkeys(columns.several("group_by", group_by)))
    cluster = columns.one("cluster_by", cluster_by)
    clusters = () if cluster is None else (cluster,)
    if a is None and columns.found:
        raise UsageError("group_by and cluster_by name columns, and arrays have none; pass tables")
    if on_invalid == "propagate":
        raise UsageError("on_invalid: a comparison can 'raise' or 'skip', not 'propagate'")
    inputs = replace(inputs, data=a)
    b_inputs = replace(inputs, data=a if b is None else b, target=target if b_target is None else b_target, weight=None)
    own = {
        "logits": b_logits, "probs": b_probs, "log_probs": b_log_probs, "losses": b_losses,
        "target_log_probs": b_target_log_probs,
    }  # fmt: skip
    if any(value is not None for value in own.values()):
        b_inputs = replace(b_inputs, **own)
    elif b is None:
        ways = ", ".join(f"b_{name}" for name in own)
        raise UsageError(f"there is nothing to compare with: name a second set, or one of {ways}")
    if cluster is not None and cluster in dict(columns.bins):
        raise UsageError(f"cluster_by: {cluster!r} is also grouped by bins; copy the column")
    if isinstance(a, str) and isinstance(b, str) and a == b == "-":
        raise UsageError("standard input can be read once, and both sides are '-'; write one of them to a file")
    if inputs.ready_made != b_inputs.ready_made:
        raise UsageError("one side has losses, the other predictions; give losses of both (fastxent.score writes them)")
    threads = thread_count(threads)
    engine = runner_of(runner, threads)
    if target_file is not None:
        if not keys or b_target is not None or inputs.ready_made:
            raise UsageError("target_file has the targets of both sides, by the ids that on= names; give no b_target")
        column = label_column(target_file, keys) if target is None else target
        held = Labels(target_file, keys, column, None if memory is None else byte_size(memory))
        inputs, b_inputs = (replace(each, target=column, target_file=held) for each in (inputs, b_inputs))
    side_a = _Side.open("A", inputs, loss_options, keys, (*groups, *clusters), unit, memory, engine)
    edges = edges_of(columns, inputs, side_a.source)
    side_a = replace(side_a, edges=edges)
    side_b = _Side.open("B", b_inputs, loss_options, keys, (), unit, memory, engine)
    _check_alike(side_a, side_b, by_order=not keys, filtered=filter is not None, clip=clip)
    if keys and side_a.source.flattens:
        keys = (*keys, PLACE)
    sides = (side_a, side_b)
    counts = [side.source.num_rows for side in sides]
    total = sum(counts) if min(counts) >= 0 else -1
    step = None if progress is None else lambda split: progress(split, total)
    with compile_clock() as compiling, spool_folder() as folder:
        files = [os.path.join(folder, f"{name}.parquet") for name in "ab"]
        with engine:
            results = [side.score(file, keys, engine, step) for side, file in zip(sides, files, strict=True)]
        if not keys:
            _check_counts(*(side.stored or spool.num_rows for side, (_, spool) in zip(sides, results, strict=True)))
        _check_spools(keys, clusters, *(spool for _, spool in results))
        room = JOIN_MEMORY if memory is None else byte_size(memory)
        one, other = files
        pairs = Pairs(
            folder, one, other, keys=len(keys), columns=len(side_a.columns), memory=room, threads=threads,
            weighted=side_a.spec.reads_weight, scores=predicts_class(side_a.spec),
        )  # fmt: skip
        try:
            joined = Joined(pairs, groups, clusters, side_a.spec)
            result = _compared(joined, [evaluation for evaluation, _ in results], keys, int(k))
            if permutations:
                _permute(result, joined, permutations, seed)
        finally:
            pairs.close()
    if filter is not None and side_a.stored:
        result.filtered = {
            name: side.stored - spool.num_rows for name, side, (_, spool) in zip("ab", sides, results, strict=True)
        }
    _convert(result, unit)
    _name_bins(result, edges)
    result.settings = {"on": list(keys)} if keys else {"by_order": True}
    result.settings |= {"forms": {"a": side_a.spec.form, "b": side_b.spec.form}}
    result.settings |= {"group_by": list(groups)} if groups else {}
    result.settings |= {"cluster_by": clusters[0]} if clusters else {}
    result.settings |= {"weight": weight} if isinstance(weight, str) else {}
    result.settings |= {} if filter is None else {"filter": str(filter)}
    result.run = {
        "seconds": time.perf_counter() - started,
        "compile_seconds": compiling.seconds,
        "threads": threads,
        "runner": engine.name,
        **origin(),
        **({"columns": inputs.columns} if inputs.columns else {}),
    }
    doubts = [f"{name}: {doubt}" for name, (side, _) in zip("AB", results, strict=True) for doubt in side.doubts]
    result.warnings += doubts
    warn(doubts)
    return result


@dataclass(frozen=True, slots=True)
class _Side:
    """One set of predictions, opened."""

    name: str
    source: Source
    spec: Spec
    columns: tuple[str, ...]
    unit: Unit
    edges: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @property
    def stored(self) -> int:
        """Rows there are, those included that a filter leaves out; 0 where there is none."""
        return sum(self.source.stored.values())

    @classmethod
    def open(
        cls,
        name: str,
        inputs: Inputs,
        loss: LossOptions,
        keys: tuple[str, ...],
        columns: tuple[str, ...],
        unit: Unit,
        memory: int | str | None,
        runner: Runner,
    ) -> _Side:
        """Open one side; options that its form cannot have are the other side's."""
        form = next((form for form, value in inputs.forms.items() if value is not None), None)
        if form in ("logits", "log_probs"):
            loss = replace(loss, clip=None)
        if form == "logits":
            loss = replace(loss, normalize=False)
        with _naming(name):
            extra = tuple(dict.fromkeys((*keys, *columns)))
            source, spec = prepare(inputs, loss, memory=memory, threads=runner.readers, extra=extra)
            check_travels(source, runner)
        return cls(name, source, spec, columns, unit)

    def score(self, path: str, keys: tuple[str, ...], runner: Runner, step: Done | None) -> tuple[Evaluation, Spooled]:
        plan = plan_of(self.source, self.spec, Measures(scores=has_classes(self.spec), edges=self.edges))
        with _naming(self.name):
            scored = spool_rows(plan, path, keys, self.columns, runner, done=step)
            spooled = Spooled(path, keys, self.columns)
        return finish(plan, scored, {"paths": list(self.source.paths)}, Readings(base=self.unit.base)), spooled


@contextmanager
def _naming(side: str) -> Iterator[None]:
    """Say of an error which side it is about."""
    try:
        yield
    except FastxentError as error:
        error.args = (f"{side}: {error.args[0]}", *error.args[1:])
        raise


def _check_data(a: Any, b: Any) -> None:
    for name, data in (("a", a), ("b", b)):
        if data is not None and not (is_paths(data) or is_table(data)):
            raise UsageError(
                f"{name}: expected a path, a list of paths, or a table, got {type(data).__name__}; arrays of scores go "
                "in logits= and b_logits= (or probs, log_probs)"
            )
    if a is None and b is not None:
        raise UsageError("there is a b and no a: name both sets, or neither and give arrays")


def _keys(on: str | Sequence[str] | None, by_order: bool, *, arrays: bool) -> tuple[str, ...]:
    if arrays and on is not None:
        raise UsageError("on: arrays are paired by order; to pair by id pass tables")
    if (on is None) == (not by_order) and not arrays:
        raise UsageError("say how rows are paired: on='id' names the column of ids, by_order=True goes by order")
    keys = ExtraColumns(by_name=True).several("on", on)
    if on is not None and (not keys or len(set(keys)) != len(keys)):
        raise UsageError(f"on: expected one column or several different ones, got {on!r}")
    return keys


def _check_alike(a: _Side, b: _Side, *, by_order: bool, filtered: bool, clip: float | str | None) -> None:
    """What can be known to be wrong before anything is scored."""
    for side in (a, b):
        if side.source.num_rows == 0:
            kept = f"the filter keeps none of {side.stored:,} rows" if side.stored else "there are no rows to compare"
            raise DataError(f"{side.name}: {kept}")
    if a.source.flattens != b.source.flattens:
        raise UsageError("one side has lists of losses, the other single ones; give lists on both sides, or on neither")
    if by_order and a.source.flattens and filtered:
        raise UsageError("filter: lists of losses that are left out cannot be counted, so pair the rest by id (on=)")
    if a.spec.task != b.spec.task:
        raise UsageError(f"the sides are {a.spec.task} and {b.spec.task}; they must be predictions of the same thing")
    if a.spec.num_classes != b.spec.num_classes:
        raise UsageError(f"the sides have {a.spec.num_classes} and {b.spec.num_classes} classes; they must agree")
    names = [None if side.spec.class_names is None else _bare(side.spec.class_names) for side in (a, b)]
    if names[0] != names[1] and None not in names:
        raise UsageError("the sides name their classes differently, or in another order; pass class_names")
    if a.spec.definition.target_in_form and a.spec.form != b.spec.form:
        raise UsageError(
            f"{a.spec.loss} takes targets in the form of the predictions, as logits beside logits; give both in one"
        )
    if a.source.dense_target != b.source.dense_target:
        raise UsageError("target: one side has distributions, the other class indices; they cannot be checked to agree")
    if clip is not None and "probs" not in (a.spec.form, b.spec.form):
        raise UsageError(f"clip applies to probs, and these are {a.spec.form}")
    if by_order and min(a.source.num_rows, b.source.num_rows) >= 0:
        _check_counts(a.stored or a.source.num_rows, b.stored or b.source.num_rows)


def _bare(names: Sequence[str]) -> list[str]:
    """Names without what columns of scores have in common, so that logit_cat and prob_cat are the same class."""
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
    common = re.sub(r"[^\W_]*\Z", "", "".join(letter for letter, _ in alike))
    return [name.removeprefix(common) for name in names]


def _check_counts(a: int, b: int) -> None:
    if a != b:
        raise DataError(f"by order, the sides must have the same rows, and have {a:,} and {b:,}; pair them by id (on=)")


def _check_spools(keys: tuple[str, ...], clusters: tuple[str, ...], a: Spooled, b: Spooled) -> None:
    """What is known of the rows once they have been read."""
    import pyarrow as pa

    for name in clusters:
        if pa.types.is_floating(a.types[name]):
            raise UsageError(
                f"cluster_by: column {name!r} holds floats; clusters are named by integers, text or the like"
            )
    for key in keys:
        left, right = a.types[key], b.types[key]
        if left != right and not (pa.types.is_integer(left) and pa.types.is_integer(right)):
            raise UsageError(f"on: column {key!r} holds {left} on one side and {right} on the other; write them alike")


def _compared(joined: Joined, sides: list[Evaluation], keys: tuple[str, ...], k: int) -> Comparison:
    pairs = joined.pairs
    what = " and ".join(keys) or "row"
    if keys:
        for side in "ab":
            count, first = pairs.duplicates(side)
            if count:
                raise DataError(f"{count:,} ids occur more than once in {side} ({what} {_listed(first, count)})")
    pairs.join()
    count, first = pairs.other_targets()
    if count:
        raise DataError(
            f"{count:,} rows have another target in b than in a ({what} {_listed(first, count)});"
            " the two sides are not predictions of the same thing"
        )
    outcomes = joined.with_statistics(dict(joined.outcomes()))
    result = Comparison(
        outcome=outcomes.get("") or joined.sums().outcome(),
        a=sides[0],
        b=sides[1],
        only={side: pairs.lonely(side) for side in "ab"},
        unscored=pairs.unscored(),
        zero_weight=pairs.weightless(),
        improved=pairs.extremes(k, descending=True),
        regressed=pairs.extremes(k, descending=False),
        octaves=pairs.octaves(),
        groups={
            column: joined.with_statistics(dict(joined.outcomes(f"c{i}")), f"c{i}")
            for i, column in enumerate(joined.groups)
        },
    )
    if math.isnan(result.delta.mean) and result.num_rows:
        result.warnings.append("some losses are infinite on both sides: their difference, and the mean, is undefined")
    if not result.num_rows:
        result.warnings.append("no row is on both sides; every difference is NaN")
    return result


def _permute(result: Comparison, joined: Joined, permutations: int, seed: int) -> None:
    """Add the sign-flip tests of the difference of the losses: of all rows, and of every group."""
    result.outcome = next(iter(joined.permuted({"": result.outcome}, permutations, seed).values()))
    for i, column in enumerate(joined.groups):
        result.groups[column] = joined.permuted(result.groups[column], permutations, seed, group=f"c{i}")


def _name_bins(result: Comparison, edges: tuple[tuple[str, tuple[float, ...]], ...]) -> None:
    """Call groups that are bins by their edges."""
    for column, inner in edges:
        names = {str(bottom): bin_name(bottom, inner) for bottom in (-math.inf, *inner)} | {"nan": "NaN"}
        result.groups[column] = {names.get(value, value): each for value, each in result.groups[column].items()}


def _convert(result: Comparison, unit: Unit) -> None:
    """Put what is in nats into another unit."""
    result.unit = unit
    result.outcome = result.outcome.to(unit)
    for groups in result.groups.values():
        groups.update({value: each.to(unit) for value, each in groups.items()})
    for rows in (result.improved, result.regressed):
        rows[:] = [(row[0], *unit.of(row[1:])) for row in rows]


def _listed(first: list[Any], count: int) -> str:
    shown = [text if len(text) <= LONGEST else f"{text[:LONGEST]}..." for text in map(repr, first)]
    return ", ".join(shown) + (", ..." if count > len(first) else "")
