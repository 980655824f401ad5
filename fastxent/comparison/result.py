"""The result of a comparison: as attributes, tables, JSON and a page."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastxent.base.log_unit import NATS, Unit
from fastxent.comparison.differences import Difference, Outcome
from fastxent.comparison.sign_flip import Permutation
from fastxent.data.spec import NUMERICS_VERSION
from fastxent.results.as_json import json_text
from fastxent.results.evaluation import Evaluation
from fastxent.results.gates import Gate
from fastxent.results.headlines import ROWS, html_table

__all__ = ["SCHEMA", "Comparison"]

SCHEMA = "fastxent.comparison/1"


@dataclass(slots=True, eq=False)
class Comparison:
    """The result of `fastxent.compare`.

    ``groups`` holds an `Outcome` for every value of every ``group_by`` column. ``improved`` and ``regressed`` are the
    rows whose loss is lower, or higher, in B by most: (id, loss in A, loss in B, difference). ``filtered`` counts the
    rows of either side that the filter left out, where there was one; ``zero_weight`` those that weigh nothing.
    ``octaves`` counts rows by the logarithms to base 2, rounded down, of their losses in A and in B, in nats (-20 for
    losses below 2^-20, 10 from 2^10 on).
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
    filtered: dict[str, int] = field(default_factory=dict)
    zero_weight: int = 0
    octaves: list[tuple[int, int, int]] = field(default_factory=list)

    def __eq__(self, other: object) -> bool:
        """Whether they say the same of the same two sides. Facts about the run do not count."""
        if not isinstance(other, Comparison):
            return NotImplemented
        ours, theirs = (
            {k: v for k, v in each.to_dict().items() if k not in ("run", "a", "b")} for each in (self, other)
        )
        return json_text(ours) == json_text(theirs) and (self.a, self.b) == (other.a, other.b)

    __hash__ = None  # type: ignore[assignment]

    @property
    def permutation(self) -> Permutation | None:
        """The sign-flip test of the loss difference of all rows, where one was asked for."""
        return self.outcome.permutation

    @property
    def delta(self) -> Difference:
        """The difference of the mean losses, A - B: positive where B is better."""
        return self.outcome.delta

    @property
    def statistics(self) -> Any:
        """An Arrow table of AUC, F1, MCC, ECE and the like over the rows that were compared, with their differences.

        A row a statistic, of all rows (column and value null) and of every group: column, value, statistic, a, b,
        delta, stderr, ci_low, ci_high, p_value. Multilabel rows, and losses alone, have none.
        """
        import pyarrow as pa

        owners: list[tuple[str | None, str | None, Outcome]] = [(None, None, self.outcome)]
        owners += [(column, value, each) for column, groups in self.groups.items() for value, each in groups.items()]
        text, number = ("column", "value", "statistic"), ("a", "b", "delta", "stderr", "ci_low", "ci_high", "p_value")
        rows = [
            (column, value, name, each.a, each.b, each.delta.mean, *(getattr(each.delta, end) for end in number[3:]))
            for column, value, outcome in owners
            for name, each in outcome.statistics.items()
        ]
        kinds = pa.schema([(name, pa.string()) for name in text] + [(name, pa.float64()) for name in number])
        columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
        return pa.table([list(each) for each in columns], schema=kinds)

    def difference(self, name: str) -> Difference:
        """The difference A - B of a statistic over the rows that were compared: "loss", "accuracy", "auc", "f1", ...

        Raises:
            UsageError: there is no difference of this name; the message says of which there is one.

        Examples:
            >>> import fastxent as fx
            >>> p, q, y = [0.9, 0.6, 0.2, 0.1], [0.4, 0.6, 0.5, 0.1], [1, 1, 0, 0]
            >>> round(fx.compare(probs=p, b_probs=q, target=y, task="binary").difference("auc").mean, 4)
            0.25
        """
        return self.outcome.difference(name)

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
        named = [json_text(key) if isinstance(key, list) else key for key in ids]
        beyond = any(isinstance(key, int) and key >= 1 << 63 for key in named)
        columns: dict[str, Any] = {"id": pa.array(named, pa.uint64() if beyond else None)}
        for i, name in enumerate(("loss_a", "loss_b", "delta"), start=1):
            columns[name] = pa.array([row[i] for row in rows], pa.float64())
        return pa.table(columns)

    def _repr_html_(self) -> str:
        """The verdict and the differences as HTML tables, for notebooks."""
        return _as_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values under stable names."""
        outcome = self.outcome.to_dict()
        rows: dict[str, Any] = {"compared": outcome.pop("rows"), "unscored": self.unscored}
        rows |= {"zero_weight": self.zero_weight} if self.zero_weight else {}
        rows |= {f"filtered_{side}": count for side, count in self.filtered.items()}
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

    def to_html(self, path: str | os.PathLike[str] | None = None, *, gates: Iterable[str | Gate] = ()) -> str:
        """A report as one HTML page that needs nothing else; written to ``path`` if one is given. Extra ``report``.

        It begins with a verdict. ``gates`` are conditions under which B may not ship, such as "delta < 0", as
        ``--fail-if`` takes them.
        """
        from fastxent.report.write import write_report

        return write_report(self, path, gates)

    def plot(self, name: str, ax: Any = None) -> Any:
        """A picture of the report, drawn by Matplotlib (extra ``plot``).

        Args:
            name: "groups" (differences of the losses with their intervals), "density" (rows by both losses) or "loss".
            ax: the ``matplotlib.axes.Axes`` to draw on; by default those of a new figure of pyplot.

        Returns:
            The ``Axes``.

        Raises:
            UsageError: there is no such picture, or nothing was gathered that it would show (the message says what
                there is).

        Examples:
            >>> import fastxent as fx
            >>> import matplotlib; matplotlib.use("agg")
            >>> a = {"logits": [[2.0, 0.0], [0.0, 2.0]], "target": [0, 0]}
            >>> c = fx.compare(logits=a["logits"], b_logits=[[3.0, 0.0], [0.0, 1.0]], target=[0, 0], by_order=True)
            >>> c.plot("groups").get_title()
            'Where is which one better?'
        """
        from fastxent.report.write import plot

        return plot(self, name, ax)

    def __repr__(self) -> str:
        d = self.delta
        return f"Comparison(delta={d.mean:.6g} [{d.ci_low:.6g}, {d.ci_high:.6g}], rows={self.num_rows:,})"


def _json_id(key: Any) -> Any:
    if isinstance(key, list):
        return [_json_id(part) for part in key]
    return key if isinstance(key, int | str) and not isinstance(key, bool) else str(key)


def _as_html(result: Comparison) -> str:
    """The verdict of the report and the differences as HTML tables; everything is escaped."""
    import pyarrow as pa

    from fastxent.report.write import verdict

    outcome = result.outcome
    lines = [(f"loss ({result.unit})", outcome.loss, outcome.delta)]
    if outcome.accuracy is not None and outcome.accuracy_delta is not None:
        lines.append(("accuracy", outcome.accuracy, outcome.accuracy_delta))
    lines += [(name, {"a": each.a, "b": each.b}, each.delta) for name, each in outcome.shown_statistics]
    names = ("mean", "ci_low", "ci_high", "p_value")
    found = [
        {"": name, **{side.upper(): sides[side] for side in "ab"}} | {key: getattr(delta, key) for key in names}
        for name, sides, delta in lines
    ]
    tables = [(f"{outcome.rows:,} rows compared; differences are A - B", pa.Table.from_pylist(found))]
    tables += [("by group", result.per_group)] if result.groups else []
    tables += [("rows that changed most", result.changed)] if result.changed.num_rows else []
    shown = ((title, table.slice(0, ROWS), table.num_rows) for title, table in tables)
    return html_table(verdict(result), (), shown)
