"""Two sets of predictions of the same rows, paired: is one really better, by how much, and where?

Each side is scored once, rows are joined (`fastxent.pairing`), and what the pairs say is summed up exactly
(`fastxent.differences`), of all rows and of every group.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent import engine
from fastxent.differences import ClusterSums, Difference, McNemar, Outcome, Pairing, PairSums, runs
from fastxent.document import json_text
from fastxent.errors import DataError, UsageError
from fastxent.evaluation import Evaluation
from fastxent.losses import one_form
from fastxent.pairing import Pairs, Spool, need_duckdb
from fastxent.permutation import Permutation, check_permutations, sign_flip_test
from fastxent.scoring import open_predictions
from fastxent.sources import Source, Split
from fastxent.spec import NUMERICS_VERSION, Loss, OnInvalid, Spec, Task
from fastxent.statistics.statistic import predicts_class
from fastxent.totals import Measures
from fastxent.unit import NATS, Unit

__all__ = ["SCHEMA", "Comparison", "Difference", "McNemar", "Outcome", "compare"]

SCHEMA = "fastxent.comparison/1"

#: What DuckDB may hold before it spills to disk.
JOIN_MEMORY = 1 << 30


@dataclass(slots=True)
class Comparison:
    """The result of `compare`.

    ``groups`` holds an `Outcome` for every value of every ``group_by`` column. ``improved`` and ``regressed`` are the
    rows whose loss is lower, or higher, in B by most: (id, loss in A, loss in B, difference).
    """

    outcome: Outcome
    a: Evaluation
    b: Evaluation
    only: dict[str, tuple[int, list[Any]]]
    unscored: int
    groups: dict[str, dict[str, Outcome]] = field(default_factory=dict)
    improved: list[tuple[Any, float, float, float]] = field(default_factory=list)
    regressed: list[tuple[Any, float, float, float]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    unit: Unit = NATS

    @property
    def permutation(self) -> Permutation | None:
        """The sign-flip test of the loss difference of all rows, where one was asked for."""
        return self.outcome.permutation

    @property
    def delta(self) -> Difference:
        """The difference of the mean losses, A - B: positive where B is better."""
        return self.outcome.delta

    @property
    def num_rows(self) -> int:
        """Rows that were compared."""
        return self.outcome.rows

    @property
    def per_group(self) -> Any:
        """An Arrow table with a row a group: column and value, rows, both losses, their difference, both accuracies.

        ``p_value`` is Student's, ``permutation_p`` that of the sign-flip test, where one was asked for.
        """
        import pyarrow as pa

        found = [
            {
                "column": column, "value": value, "rows": each.rows, "loss_a": each.loss["a"], "loss_b": each.loss["b"],
                "delta": each.delta.mean, "stderr": each.delta.stderr, "ci_low": each.delta.ci_low,
                "ci_high": each.delta.ci_high, "p_value": each.delta.p_value,
            }
            | ({} if each.permutation is None else {"permutation_p": each.permutation.p_value})
            | {f"accuracy_{side}": share for side, share in (each.accuracy or {}).items()}
            for column, values in self.groups.items() for value, each in values.items()
        ]  # fmt: skip
        return pa.Table.from_pylist(found)

    @property
    def changed(self) -> Any:
        """An Arrow table of the rows that changed most: id (several columns as JSON text), both losses, difference.

        Those with a lower loss in B come first, then those with a higher one.
        """
        import pyarrow as pa

        rows = [*self.improved, *self.regressed]
        ids = [_json_id(key) for key, *_ in rows]
        columns: dict[str, Any] = {"id": [json_text(key) if isinstance(key, list) else key for key in ids]}
        for i, name in enumerate(("loss_a", "loss_b", "delta"), start=1):
            columns[name] = pa.array([row[i] for row in rows], pa.float64())
        return pa.table(columns)

    def _repr_html_(self) -> str:
        """The differences as HTML tables, for notebooks."""
        from fastxent.summary import comparison_html

        return comparison_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values under stable names."""
        outcome = self.outcome.to_dict()
        rows: dict[str, Any] = {"compared": outcome.pop("rows"), "unscored": self.unscored}
        for side, (count, first) in self.only.items():
            rows[f"only_{side}"] = {"count": count, "first": [_json_id(key) for key in first]}
        result: dict[str, Any] = {
            "schema": SCHEMA,
            "settings": self.settings,
            "rows": rows,
            "loss_unit": str(self.unit),
        }
        for side, evaluation in (("a", self.a), ("b", self.b)):
            whole = evaluation.to_dict()
            result[side] = {key: whole[key] for key in ("spec", "rows", "first_invalid") if key in whole}
            result[side]["paths"] = whole["run"].get("paths", [])
        result |= outcome
        if self.groups:
            result["groups"] = {
                column: {value: each.to_dict() for value, each in values.items()}
                for column, values in self.groups.items()
            }
        for name in ("improved", "regressed"):
            result[name] = [
                {"id": _json_id(key), "loss_a": la, "loss_b": lb, "delta": d} for key, la, lb, d in getattr(self, name)
            ]
        return result | {"warnings": self.warnings, "run": {**self.run, "numerics_version": NUMERICS_VERSION}}

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text; floats read back to the same bits, NaN and infinities as strings."""
        return json_text(self.to_dict(), indent=indent)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A report as one HTML page that needs nothing else; written to ``path`` if one is given. Extra ``report``."""
        from fastxent.report import write_report

        return write_report(self.to_dict(), path, unit=self.unit)

    def __repr__(self) -> str:
        d = self.delta
        return f"Comparison(delta={d.mean:.6g} [{d.ci_low:.6g}, {d.ci_high:.6g}], rows={self.num_rows:,})"


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
    b_logits: Any = None,
    b_probs: Any = None,
    b_log_probs: Any = None,
    b_target: Any = None,
    group_by: str | Sequence[str] = (),
    cluster_by: str | None = None,
    k: int = 10,
    permutations: int = 0,
    seed: int = 0,
    weight: Any = None,
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    loss: Loss = "cross_entropy",
    gamma: float = 2.0,
    task: Task = "multiclass",
    mask: Any = None,
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
    progress: engine.Progress | None = None,
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
        logits: column (or array) with the scores, as in `evaluate`; give exactly one of ``logits``, ``probs`` and
            ``log_probs``.
        probs: the same for probabilities.
        log_probs: the same for log-probabilities.
        b_logits: column of the second set, where it has another name or form; likewise ``b_probs``, ``b_log_probs``.
        b_probs: see ``b_logits``.
        b_log_probs: see ``b_logits``.
        b_target: column with the targets of the second set, where it has another name.
        group_by: columns of ``a``: the comparison is also made for each of their values.
        cluster_by: column of ``a`` that says which rows belong together (a document, a user); standard errors are
            then those of clusters.
        k: how many of the rows that changed most are kept, each way.
        permutations: so many replicates of a sign-flip permutation test of the loss difference (of clusters, with
            ``cluster_by``): a p-value that assumes no distribution, for all rows and for every group. 9999 is usual; 0
            makes no test.
        seed: of the signs of that test.
        weight: column of ``a`` (or array) with sample weights: means, differences and their errors are weighted.
        class_weight: as in `evaluate`.
        loss: the loss of a row, as in `evaluate`. "kl_divergence" and "entropy" have no accuracy to compare.
        gamma: exponent of the focal loss.
        task: "multiclass", "binary" or "multilabel".
        mask: as in `evaluate`, like the arguments up to ``dtype``.
        pos_weight: see `evaluate`.
        label_smoothing: see `evaluate`.
        ignore_index: see `evaluate`.
        class_names: see `evaluate`.
        on_invalid: "raise", or "skip": a row that one side cannot score is left out on both, and counted.
        clip: see `evaluate`; for the sides that are probabilities.
        normalize: see `evaluate`; for the sides that are not logits.
        dtype: see `evaluate`.
        threads: threads to use; all processors by default.
        memory: bytes the join may hold before it goes to disk, about; 1 GiB by default.
        verify_checksums: check page checksums of Parquet files that have them.
        progress: called with every finished split of either side and the number of rows of both, from any thread.
        base: unit of the losses and their differences: None for nats, 2 for bits, 10 for bans.

    Returns:
        A `Comparison`; its ``delta`` is A - B, positive where B has the lower loss.

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
    keys = _keys(on, by_order, arrays=a is None)
    groups = (group_by,) if isinstance(group_by, str) else tuple(dict.fromkeys(group_by))
    if a is None and (groups or cluster_by):
        raise UsageError("group_by and cluster_by name columns, and arrays have none; pass tables")
    if on_invalid == "propagate":
        raise UsageError("on_invalid: a comparison can 'raise' or 'skip', not 'propagate'")
    form_a, scores_a = one_form(logits=logits, probs=probs, log_probs=log_probs)
    other = {"logits": b_logits, "probs": b_probs, "log_probs": b_log_probs}
    form_b, scores_b = one_form(**other) if any(v is not None for v in other.values()) else (form_a, scores_a)
    if b is None and all(v is None for v in other.values()):
        raise UsageError("there is nothing to compare with: name a second set, or b_logits (b_probs, b_log_probs)")
    if loss == "kl_divergence" and form_a != form_b:
        raise UsageError(
            "kl_divergence takes targets in the form of the predictions, as logits beside logits; give both in one"
        )
    threads = engine.default_threads() if threads is None else threads
    names = None if class_names is None else tuple(class_names)
    reading: dict[str, Any] = {
        "task": task, "mask": mask, "class_names": names, "dtype": dtype, "memory": None,
        "verify_checksums": verify_checksums,
    }  # fmt: skip
    columns = (*groups, *([] if cluster_by is None else [cluster_by]))
    measuring: dict[str, Any] = {
        "task": task, "pos_weight": pos_weight, "label_smoothing": label_smoothing, "ignore_index": ignore_index,
        "on_invalid": on_invalid, "class_weight": class_weight, "loss": loss, "gamma": gamma,
    }  # fmt: skip

    def scorer(data: Any, form: str, scores: Any, column: Any, extra: tuple[str, ...], weight: Any = None) -> _Side:
        source = open_predictions(data, scores, column, extra=tuple(dict.fromkeys(extra)), weight=weight, **reading)
        spec = Spec.make(
            num_classes=source.num_classes,
            form=form,
            soft=source.dense_target,
            weighted=weight is not None,
            clip=clip if form == "probs" else None,
            normalize=normalize and form != "logits",
            class_names=names or source.class_names,
            **measuring,
        )
        return _Side(source, spec, extra[len(keys) :], unit)

    side_a = scorer(a, form_a, scores_a, target, (*keys, *columns), weight)
    side_b = scorer(a if b is None else b, form_b, scores_b, target if b_target is None else b_target, keys)
    _check_alike(side_a, side_b, by_order=not keys)
    if clip is not None and "probs" not in (form_a, form_b):
        raise UsageError(f"clip applies to probs, and these are {form_a}")
    counts = (side_a.source.num_rows, side_b.source.num_rows)
    total = sum(counts) if min(counts) >= 0 else -1
    step = None if progress is None else lambda split: progress(split, total)
    with tempfile.TemporaryDirectory(prefix="fastxent-", ignore_cleanup_errors=True) as folder:
        files = [os.path.join(folder, f"{name}.parquet") for name in "ab"]
        results = [side.score(file, keys, threads, step) for side, file in zip((side_a, side_b), files, strict=True)]
        _check_keys(keys, cluster_by, *(spool for _, spool in results))
        pairs = Pairs(folder, *files, keys=len(keys), memory=JOIN_MEMORY if memory is None else memory, threads=threads)
        try:
            reader = _Reader(pairs, groups, cluster_by, side_a.spec)
            result = _compared(reader, [e for e, _ in results], keys, k)
            if permutations:
                reader.permute(result, permutations, seed)
        finally:
            pairs.close()
    _convert(result, unit)
    result.settings = {"on": list(keys)} if keys else {"by_order": True}
    result.settings |= {"forms": {"a": form_a, "b": form_b}} | ({"group_by": list(groups)} if groups else {})
    result.settings |= {} if cluster_by is None else {"cluster_by": cluster_by}
    result.settings |= {"weight": weight} if isinstance(weight, str) else {}
    from fastxent import __version__

    result.run = {"seconds": time.perf_counter() - started, "threads": threads, "version": __version__}
    return result


@dataclass(frozen=True, slots=True)
class _Side:
    """One set of predictions, opened."""

    source: Source
    spec: Spec
    columns: tuple[str, ...]
    unit: Unit

    def score(
        self, path: str, keys: tuple[str, ...], threads: int, step: Callable[[Split], None] | None
    ) -> tuple[Evaluation, Spool]:
        spool = Spool(path, keys, self.columns, self.spec if self.spec.reads_weight else None)

        def done(split: Split) -> None:
            spool.done(split)
            if step is not None:
                step(split)

        totals = engine.run(
            self.source,
            self.spec,
            Measures(scores=_has_classes(self.spec)),
            threads=threads,
            outputs_of=spool.outputs_of,
            done=done,
        )
        spool.close()
        return Evaluation(totals, run={"paths": list(self.source.paths)}, base=self.unit.base), spool


def _keys(on: str | Sequence[str] | None, by_order: bool, *, arrays: bool) -> tuple[str, ...]:
    if arrays and on is not None:
        raise UsageError("on: arrays are paired by order; to pair by id pass tables")
    if (on is None) == (not by_order) and not arrays:
        raise UsageError("say how rows are paired: on='id' names the column of ids, by_order=True goes by order")
    keys = () if on is None else (on,) if isinstance(on, str) else tuple(on)
    if on is not None and (not keys or len(set(keys)) != len(keys)):
        raise UsageError(f"on: expected one column or several different ones, got {on!r}")
    return keys


def _check_alike(a: _Side, b: _Side, *, by_order: bool) -> None:
    """What can be known to be wrong before anything is scored."""
    if a.spec.num_classes != b.spec.num_classes:
        raise UsageError(f"the sides have {a.spec.num_classes} and {b.spec.num_classes} classes; they must agree")
    if a.spec.class_names is not None and b.spec.class_names not in (None, a.spec.class_names):
        raise UsageError("the sides name their classes differently, or in another order; pass class_names")
    if by_order and min(a.source.num_rows, b.source.num_rows) >= 0:
        _check_counts(a.source.num_rows, b.source.num_rows)


def _check_counts(a: int, b: int) -> None:
    if a != b:
        raise DataError(f"by order, the sides must have the same rows, and have {a:,} and {b:,}; pair them by id (on=)")


def _check_keys(keys: tuple[str, ...], cluster_by: str | None, a: Spool, b: Spool) -> None:
    import pyarrow as pa

    if cluster_by is not None and pa.types.is_floating(a.types[cluster_by]):
        raise UsageError(
            f"cluster_by: column {cluster_by!r} holds floats; clusters are named by integers, text or the like"
        )

    if a.dense != b.dense:
        raise UsageError("target: one side has distributions, the other class indices; they cannot be checked to agree")
    if not keys:
        _check_counts(a.num_rows, b.num_rows)
    for key in keys:
        left, right = a.types[key], b.types[key]
        if left != right and not (pa.types.is_integer(left) and pa.types.is_integer(right)):
            raise UsageError(f"on: column {key!r} holds {left} on one side and {right} on the other; write them alike")


def _has_classes(spec: Spec) -> bool:
    """Whether a row is right or wrong: it has a predicted class, or (multilabel) all of its labels."""
    return predicts_class(spec) or spec.task == "multilabel"


def _compared(reader: _Reader, sides: list[Evaluation], keys: tuple[str, ...], k: int) -> Comparison:
    pairs = reader.pairs
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
    outcomes = list(reader.outcomes())
    result = Comparison(
        outcome=outcomes[0][1] if outcomes else reader.sums().outcome(),
        a=sides[0],
        b=sides[1],
        only={side: pairs.lonely(side) for side in "ab"},
        unscored=pairs.unscored(),
        improved=pairs.extremes(k, descending=True),
        regressed=pairs.extremes(k, descending=False),
        groups={column: dict(reader.outcomes(f"c{i}")) for i, column in enumerate(reader.groups)},
    )
    if math.isnan(result.delta.mean) and result.num_rows:
        result.warnings.append("some losses are infinite on both sides: their difference, and the mean, is undefined")
    if not result.num_rows:
        result.warnings.append("no row is on both sides; every difference is NaN")
    return result


def _convert(result: Comparison, unit: Unit) -> None:
    """Put what is in nats into another unit."""
    result.unit = unit
    result.outcome = result.outcome.to(unit)
    for groups in result.groups.values():
        groups.update({value: each.to(unit) for value, each in groups.items()})
    for rows in (result.improved, result.regressed):
        rows[:] = [(row[0], *unit.of(row[1:])) for row in rows]


class _Reader:
    """The joined pairs as sums: of all rows, by group, in clusters, with weights."""

    def __init__(self, pairs: Pairs, groups: tuple[str, ...], cluster_by: str | None, spec: Spec) -> None:
        self.pairs, self.groups = pairs, groups
        self._cluster_by = cluster_by
        self._cluster = None if cluster_by is None else f"c{len(groups)}"
        self._weighted, self._classes = spec.reads_weight, _has_classes(spec)

    def sums(self) -> PairSums:
        """Empty ones."""
        return PairSums(clustered=self._cluster is not None, weighted=self._weighted, classes=self._classes)

    def _pairing(self, batch: Any) -> Pairing:
        la, lb = (np.array(batch[name]) for name in ("la", "lb"))
        ca, cb = (batch[name].to_numpy(zero_copy_only=False) for name in ("ca", "cb"))
        return Pairing(la, lb, ca, cb, *(np.array(batch[name]) for name in (("s", "x") if self._weighted else ())))

    def _clusters(self, batch: Any) -> tuple[NDArray[np.int64], list[Any]] | None:
        if self._cluster is None:
            return None
        codes, values = _codes(batch[self._cluster])
        if (codes < 0).any():
            raise DataError(f"cluster_by: column {self._cluster_by!r} has nulls; every row needs a cluster")
        return codes, values

    def outcomes(self, group: str | None = None) -> Iterator[tuple[str, Outcome]]:
        """The outcome of each value of the group column, or the one of all rows; pairs come sorted by it."""
        sums: PairSums | None = None
        here = ""
        for batch in self.pairs.stream([c for c in (group, self._cluster) if c is not None], weighted=self._weighted):
            pairing, clusters = self._pairing(batch), self._clusters(batch)
            for value, lo, hi in _group_runs(batch, group):
                if sums is None or value != here:
                    if sums is not None:
                        yield here, sums.outcome()
                    sums, here = self.sums(), value
                sums.add(pairing.cut(lo, hi), None if clusters is None else (clusters[0][lo:hi], clusters[1]))
        if sums is not None:
            yield here, sums.outcome()

    def permute(self, result: Comparison, permutations: int, seed: int) -> None:
        """Add the sign-flip tests of the difference of the losses: of all rows, and of every group."""

        def tested(outcome: Outcome, parts: Iterator[tuple[str, NDArray[np.float64]]]) -> Outcome:
            count = outcome.rows if outcome.clusters is None else outcome.clusters
            return replace(outcome, permutation=sign_flip_test((y for _, y in parts), count, permutations, seed))

        result.outcome = tested(result.outcome, self._differences())
        for i, groups in enumerate(result.groups.values()):
            for value, parts in itertools.groupby(self._differences(f"c{i}"), key=itemgetter(0)):
                groups[value] = tested(groups[value], parts)

    def _differences(self, group: str | None = None) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Of every group in turn the differences of rows in the order of their ids, or of clusters."""
        collected = _Collected()
        here: str | None = None
        order = self.pairs.keys if self._cluster is None else [self._cluster]
        for batch in self.pairs.stream([*([] if group is None else [group]), *order], weighted=self._weighted):
            y, clusters = self._pairing(batch).y, self._clusters(batch)
            for value, lo, hi in _group_runs(batch, group):
                if clusters is None:
                    yield value, y[lo:hi]
                    continue
                if here is not None and value != here:
                    collected.close()
                    yield here, collected.take()
                here = value
                collected.add((clusters[0][lo:hi], clusters[1]), y[lo:hi], None, np.zeros(hi - lo))
                yield value, collected.take()
        if here is not None:
            collected.close()
            yield here, collected.take()


class _Collected(ClusterSums):
    """The sums of clusters as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._sums: list[float] = []

    def record(self, y: float, x: float, hits: float) -> None:
        """See `ClusterSums.record`."""
        self._sums.append(y)

    def take(self) -> NDArray[np.float64]:
        """Those that have come since."""
        found, self._sums = np.array(self._sums, np.float64), []
        return found


def _group_runs(batch: Any, group: str | None) -> Iterator[tuple[str, int, int]]:
    """The groups of a batch that is sorted by them, and where their rows begin and end; without a column one."""
    codes, values = (np.zeros(len(batch), np.int64), [""]) if group is None else _codes(batch[group])
    for lo, hi in runs(codes):
        yield _label(values[codes[lo]] if codes[lo] >= 0 else None), lo, hi


def _codes(column: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """A column as numbers, -1 for null, and the values they stand for."""
    encoded = column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def _label(value: Any) -> str:
    """The name of a group. A null is written so that no text is: text "null" becomes "'null'"."""
    return "null" if value is None else repr(value) if value == "null" else str(value)


def _listed(first: list[Any], count: int) -> str:
    return ", ".join(map(repr, first)) + (", ..." if count > len(first) else "")


def _json_id(key: Any) -> Any:
    if isinstance(key, list):
        return [_json_id(part) for part in key]
    return key if isinstance(key, int | str) and not isinstance(key, bool) else str(key)
