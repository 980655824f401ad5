"""Two sets of predictions of the same rows, paired: is one really better, by how much, and where?

With L_A and L_B the losses of a row under the two models, everything is read off d = fl(L_A - L_B), one number a row.
Sums of d and d^2 are exact, so the result does not depend on the order of rows, chunks or threads.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent import engine, exact
from fastxent.errors import DataError, UsageError
from fastxent.evaluation import Evaluation, _finite
from fastxent.losses import one_form
from fastxent.pairing import Pairs, Spool, need_duckdb
from fastxent.scoring import open_predictions
from fastxent.significance import mcnemar_p, t_quantile, t_two_sided
from fastxent.sources import Source, Split
from fastxent.spec import NUMERICS_VERSION, OnInvalid, Spec, Task
from fastxent.totals import Measures

__all__ = ["SCHEMA", "Comparison", "Difference", "McNemar", "Outcome", "compare"]

SCHEMA = "fastxent.comparison/1"

#: What DuckDB may hold before it spills to disk.
JOIN_MEMORY = 1 << 30


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of a paired difference A - B, and how sure it is.

    ``stderr`` is the standard error of the mean, from single rows or from clusters; the 95 % interval and the
    two-sided ``p_value`` are Student's with ``df`` degrees of freedom (rows, or clusters, less one).
    """

    mean: float
    stderr: float
    ci_low: float
    ci_high: float
    t: float
    df: int
    p_value: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Rows by who is right, and the two-sided p-value of McNemar's test, exact or by chi-square."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    method: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the pairs of rows say, of all of them or of one group.

    ``delta`` is the difference of the losses, A - B: positive where B is better. ``accuracy_delta`` is the difference
    of the accuracies, also A - B: negative where B is better. ``wins`` counts the rows on which a side has the lower
    loss.
    """

    rows: int
    loss: dict[str, float]
    accuracy: dict[str, float]
    delta: Difference
    accuracy_delta: Difference
    wins: dict[str, int]
    mcnemar: McNemar
    clusters: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        result: dict[str, Any] = {
            "rows": self.rows,
            "loss": dict(self.loss),
            "accuracy": dict(self.accuracy),
            "delta": _fields(self.delta),
            "accuracy_delta": _fields(self.accuracy_delta),
            "wins": dict(self.wins),
            "mcnemar": _fields(self.mcnemar),
        }
        return result if self.clusters is None else result | {"clusters": self.clusters}


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

    @property
    def delta(self) -> Difference:
        """The difference of the mean losses, A - B: positive where B is better."""
        return self.outcome.delta

    @property
    def num_rows(self) -> int:
        """Rows that were compared."""
        return self.outcome.rows

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values under stable names."""
        outcome = self.outcome.to_dict()
        rows: dict[str, Any] = {"compared": outcome.pop("rows"), "unscored": self.unscored}
        for side, (count, first) in self.only.items():
            rows[f"only_{side}"] = {"count": count, "first": [_json_id(key) for key in first]}
        result: dict[str, Any] = {"schema": SCHEMA, "settings": self.settings, "rows": rows}
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
        return json.dumps(_finite(self.to_dict()), indent=indent, allow_nan=False, ensure_ascii=False)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A report as one HTML page that needs nothing else; written to ``path`` if one is given. Extra ``report``."""
        from fastxent.report import write_report

        return write_report(self.to_dict(), path)

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
    progress: Callable[[Split], None] | None = None,
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
        progress: called after every finished split of either side, from any thread.

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
    started = time.perf_counter()
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
    threads = engine.default_threads() if threads is None else threads
    names = None if class_names is None else tuple(class_names)
    reading: dict[str, Any] = {
        "task": task, "weight": None, "mask": mask, "class_names": names, "dtype": dtype, "memory": None,
        "verify_checksums": verify_checksums,
    }  # fmt: skip
    columns = (*groups, *([] if cluster_by is None else [cluster_by]))
    measuring: dict[str, Any] = {
        "task": task, "pos_weight": pos_weight, "label_smoothing": label_smoothing, "ignore_index": ignore_index,
        "on_invalid": on_invalid,
    }  # fmt: skip

    def scorer(data: Any, form: str, scores: Any, column: Any, extra: tuple[str, ...]) -> _Side:
        source = open_predictions(data, scores, column, extra=tuple(dict.fromkeys(extra)), **reading)
        spec = Spec.make(
            num_classes=source.num_classes,
            form=form,
            soft=source.dense_target,
            clip=clip if form == "probs" else None,
            normalize=normalize and form != "logits",
            class_names=names or source.class_names,
            **measuring,
        )
        return _Side(source, spec, extra[len(keys) :])

    side_a = scorer(a, form_a, scores_a, target, (*keys, *columns))
    side_b = scorer(a if b is None else b, form_b, scores_b, target if b_target is None else b_target, keys)
    _check_alike(side_a, side_b, by_order=not keys)
    if clip is not None and "probs" not in (form_a, form_b):
        raise UsageError(f"clip applies to probs, and these are {form_a}")
    with tempfile.TemporaryDirectory(prefix="fastxent-", ignore_cleanup_errors=True) as folder:
        files = [os.path.join(folder, f"{name}.parquet") for name in "ab"]
        results = [
            side.score(file, keys, threads, progress) for side, file in zip((side_a, side_b), files, strict=True)
        ]
        _check_keys(keys, cluster_by, *(spool for _, spool in results))
        pairs = Pairs(folder, *files, keys=len(keys), memory=JOIN_MEMORY if memory is None else memory, threads=threads)
        try:
            result = _compared(pairs, [e for e, _ in results], keys, groups, cluster_by, k)
        finally:
            pairs.close()
    result.settings = {"on": list(keys)} if keys else {"by_order": True}
    result.settings |= {"forms": {"a": form_a, "b": form_b}} | ({"group_by": list(groups)} if groups else {})
    result.settings |= {} if cluster_by is None else {"cluster_by": cluster_by}
    from fastxent import __version__

    result.run = {"seconds": time.perf_counter() - started, "threads": threads, "version": __version__}
    return result


@dataclass(frozen=True, slots=True)
class _Side:
    """One set of predictions, opened."""

    source: Source
    spec: Spec
    columns: tuple[str, ...]

    def score(
        self, path: str, keys: tuple[str, ...], threads: int, progress: Callable[[Split], None] | None
    ) -> tuple[Evaluation, Spool]:
        spool = Spool(path, keys, self.columns)

        def done(split: Split) -> None:
            spool.done(split)
            if progress is not None:
                progress(split)

        totals = engine.run(self.source, self.spec, Measures(), threads=threads, outputs_of=spool.outputs_of, done=done)
        spool.close()
        return Evaluation(totals, run={"paths": list(self.source.paths)}), spool


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


def _compared(
    pairs: Pairs,
    sides: list[Evaluation],
    keys: tuple[str, ...],
    groups: tuple[str, ...],
    cluster_by: str | None,
    k: int,
) -> Comparison:
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
    cluster = None if cluster_by is None else f"c{len(groups)}"
    outcomes = list(_outcomes(pairs, None, cluster, cluster_by))
    result = Comparison(
        outcome=outcomes[0][1] if outcomes else _Tally(cluster is not None).outcome(),
        a=sides[0],
        b=sides[1],
        only={side: pairs.lonely(side) for side in "ab"},
        unscored=pairs.unscored(),
        improved=pairs.extremes(k, descending=True),
        regressed=pairs.extremes(k, descending=False),
    )
    for i, column in enumerate(groups):
        result.groups[column] = dict(_outcomes(pairs, f"c{i}", cluster, cluster_by))
    if math.isnan(result.delta.mean) and result.num_rows:
        result.warnings.append("some losses are infinite on both sides: their difference, and the mean, is undefined")
    if not result.num_rows:
        result.warnings.append("no row is on both sides; every difference is NaN")
    return result


def _outcomes(
    pairs: Pairs, group: str | None, cluster: str | None, cluster_by: str | None
) -> Iterator[tuple[str, Outcome]]:
    """The outcome of each value of the group column, or the one of all rows; pairs come sorted by it."""
    tally: _Tally | None = None
    here = ""
    for batch in pairs.stream(group, cluster):
        la, lb = (np.array(batch.column(i)) for i in (0, 1))
        ca, cb = (batch.column(i).to_numpy(zero_copy_only=False) for i in (2, 3))
        clusters = None if cluster is None else _codes(batch.column(batch.num_columns - 1))
        if clusters is not None and (clusters[0] < 0).any():
            raise DataError(f"cluster_by: column {cluster_by!r} has nulls; every row needs a cluster")
        codes, values = (np.zeros(len(la), np.int64), [""]) if group is None else _codes(batch.column(4))
        for lo, hi in _runs(codes):
            value = _label(values[codes[lo]] if codes[lo] >= 0 else None)
            if tally is None or value != here:
                if tally is not None:
                    yield here, tally.outcome()
                tally, here = _Tally(cluster is not None), value
            piece = None if clusters is None else (clusters[0][lo:hi], clusters[1])
            tally.add(la[lo:hi], lb[lo:hi], ca[lo:hi], cb[lo:hi], piece)
    if tally is not None:
        yield here, tally.outcome()


def _codes(column: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """A column as numbers, -1 for null, and the values they stand for."""
    encoded = column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def _runs(codes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of equal neighbours."""
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    return ((lo, hi) for lo, hi in itertools.pairwise(edges) if hi > lo)


class _Tally:
    """Exact sums over pairs of rows. ``clustered`` ones must be added cluster by cluster."""

    def __init__(self, clustered: bool) -> None:
        self._sums = exact.empty(4)  # d, d^2, loss of A, loss of B
        self._right = np.zeros((2, 2), np.int64)
        self._wins = {"a": 0, "b": 0, "ties": 0}
        self._clusters = _Clusters() if clustered else None

    def add(self, la: Any, lb: Any, ca: Any, cb: Any, clusters: Any) -> None:
        """Add pairs: losses, who is right, and the clusters they belong to (codes and values) or None."""
        from fastxent.kernels.exactsum import deposit
        from fastxent.kernels.products import deposit_product

        with np.errstate(invalid="ignore"):
            d = la - lb
        n = len(d)
        deposit(d, n, self._sums[0])
        deposit_product(d, d, self._sums[1])
        deposit(la, n, self._sums[2])
        deposit(lb, n, self._sums[3])
        self._right += np.bincount(2 * ca.astype(np.int64) + cb, minlength=4).reshape(2, 2)
        lower, higher = int((la < lb).sum()), int((la > lb).sum())
        for side, count in (("a", lower), ("b", higher), ("ties", n - lower - higher)):
            self._wins[side] += count
        if self._clusters is not None:
            codes, values = clusters
            hits = ca.astype(np.int64) - cb
            for lo, hi in _runs(codes):
                whole = 0 < lo and hi < n  # what touches an end may go on in another batch
                self._clusters.add(values[codes[lo]], d[lo:hi], int(hits[lo:hi].sum()), whole)

    def outcome(self) -> Outcome:
        """What they say."""
        n = int(self._sums[0, exact.N])
        neither, only_b, only_a, both = (int(value) for value in self._right.reshape(4))
        if self._clusters is None:
            moments = exact.moments(self._sums[0], self._sums[1])
            loss_error = math.sqrt(moments.variance / n) if n > 1 else math.nan
            spread = Fraction(n * (only_a + only_b) - (only_a - only_b) ** 2, n * (n - 1)) if n > 1 else None
            hit_error = math.nan if spread is None else math.sqrt(spread / n)
            df, clusters = n - 1, None
        else:
            loss_error, hit_error = self._clusters.errors(self._sums[0], only_a - only_b)
            clusters = self._clusters.close()
            df = clusters - 1
        p_value, method = mcnemar_p(only_a, only_b)
        return Outcome(
            rows=n,
            loss={side: exact.rounded_mean(self._sums[i], n) for side, i in (("a", 2), ("b", 3))},
            accuracy={"a": _ratio(both + only_a, n), "b": _ratio(both + only_b, n)},
            delta=_difference(exact.rounded_mean(self._sums[0]), loss_error, df),
            accuracy_delta=_difference(_ratio(only_a - only_b, n), hit_error, df),
            wins=self._wins,
            mcnemar=McNemar(both, only_a, only_b, neither, p_value, method),
            clusters=clusters,
        )


class _Clusters:
    """Sums over clusters, which come one after the other, each perhaps in several pieces.

    A cluster's sum S of d is exact and rounded once, whichever way it came; of clusters are kept the exact sums of
    S^2 and S n, and of n^2, which give sum (S - m n)^2 when the mean m is known.
    """

    def __init__(self) -> None:
        self._open: Any = None
        self._state = exact.empty()
        self._size = self._hits = 0
        self._waiting: list[tuple[float, int]] = []
        self._sums = exact.empty(2)  # S^2, S n
        self._squares = self._hit_squares = self._hit_cross = 0
        self._count = 0

    def add(self, name: Any, d: NDArray[np.float64], hits: int, whole: bool) -> None:
        """Add rows of one cluster; ``whole`` if they surely are all of it."""
        from fastxent.kernels.exactsum import deposit

        if self._size and (whole or name != self._open):
            self._settle()
        if whole and np.isfinite(d).all():
            # The same number as the exact state's, correctly rounded, and ten times faster for a few rows.
            self._record(math.fsum(d.tolist()), len(d), hits)
            return
        self._open = name
        deposit(d, len(d), self._state)
        self._size += len(d)
        self._hits += hits

    def close(self) -> int:
        """No cluster will follow; how many there were."""
        if self._size:
            self._settle()
        self._flush()
        return self._count

    def errors(self, sum_d: exact.State, hits: int) -> tuple[float, float]:
        """Standard errors of the mean difference of the losses and of the accuracies."""
        g, n = self.close(), int(sum_d[exact.N])
        if g < 2:
            return math.nan, math.nan
        scale = Fraction(g, (g - 1) * n * n)
        m = Fraction(hits, n)
        hit_error = math.sqrt(scale * (self._hit_squares - 2 * m * self._hit_cross + m * m * self._squares))
        if not (math.isfinite(exact.rounded_sum(sum_d)) and math.isfinite(exact.rounded_sum(self._sums[0]))):
            return math.nan, hit_error
        m = exact.to_fraction(sum_d) / n
        squares, cross = exact.to_fraction(self._sums[0]), exact.to_fraction(self._sums[1])
        return math.sqrt(scale * max(squares - 2 * m * cross + m * m * self._squares, Fraction(0))), hit_error

    def _settle(self) -> None:
        self._record(exact.rounded_sum(self._state), self._size, self._hits)
        self._state[:] = 0
        self._size = self._hits = 0

    def _record(self, total: float, size: int, hits: int) -> None:
        self._waiting.append((total, size))
        self._squares += size * size
        self._hit_squares += hits * hits
        self._hit_cross += hits * size
        self._count += 1
        if len(self._waiting) >= 4096:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            from fastxent.kernels.products import deposit_product

            sums, sizes = (np.array(column, np.float64) for column in zip(*self._waiting, strict=True))
            deposit_product(sums, sums, self._sums[0])
            deposit_product(sums, sizes, self._sums[1])
            self._waiting.clear()


def _difference(mean: float, stderr: float, df: int) -> Difference:
    if math.isnan(mean) or math.isnan(stderr):
        return Difference(mean, stderr, math.nan, math.nan, math.nan, max(df, 0), math.nan)
    if stderr == 0.0:  # every row differs by the same: by nothing, or certainly
        t = 0.0 if mean == 0.0 else math.copysign(math.inf, mean)
        return Difference(mean, stderr, mean, mean, t, df, 1.0 if mean == 0.0 else 0.0)
    half = t_quantile(0.95, df) * stderr
    t = mean / stderr
    return Difference(mean, stderr, mean - half, mean + half, t, df, t_two_sided(t, df))


def _ratio(count: int, n: int) -> float:
    return count / n if n else math.nan


def _label(value: Any) -> str:
    """The name of a group. A null is written so that no text is: text "null" becomes "'null'"."""
    return "null" if value is None else repr(value) if value == "null" else str(value)


def _listed(first: list[Any], count: int) -> str:
    return ", ".join(map(repr, first)) + (", ..." if count > len(first) else "")


def _json_id(key: Any) -> Any:
    if isinstance(key, list):
        return [_json_id(part) for part in key]
    return key if isinstance(key, int | str) and not isinstance(key, bool) else str(key)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
