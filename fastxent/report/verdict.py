"""What a report says first: one sentence whether the model may ship, and what stands out.

Nobody can say from numbers alone that a model is good. What can be said is whether the gates pass, and which of the
things that usually go wrong are surely there: a loss no better than the base rate, probabilities that do not mean what
they say, classes in another order, slices that are surely worse than the rest, rows that are not in the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from fastxent.base.text import group_name
from fastxent.comparison.baseline import Baseline
from fastxent.comparison.result import Comparison
from fastxent.losses.base import READY
from fastxent.report.parts import as_number, as_percent
from fastxent.report.pictures.losses import base_rate
from fastxent.results.evaluation import Evaluation
from fastxent.results.gates import Gate, failures

__all__ = ["Finding", "Verdict", "judge_comparison", "judge_evaluation"]

#: Calibration errors that are worth a look, and that are bad; and how often what chance alone would make of it.
_OFF, _FAR_OFF, _CHANCE = 0.02, 0.10, 2.0
#: Rows that a slice, a class or a whole needs, how many times the overall loss it has, and how often that is bad.
_ROWS, _WORSE, _FAR_WORSE = 30, 1.25, 2.5
#: How sure it is that any slice that is named is worse, all of them taken together.
_SURE = 0.95


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands out: "bad", "warn" or "good", a sentence, and a few words of it."""

    tone: str
    text: str
    brief: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence with its tone, and the sentences behind it."""

    tone: str
    sentence: str
    findings: tuple[Finding, ...]


def judge_evaluation(ev: Evaluation, gates: Sequence[Gate] = (), baseline: Baseline | None = None) -> Verdict:
    """What is said of a model, and of what has changed since a baseline."""
    if not ev.num_rows:
        return Verdict("bad", "No row was scored, so nothing is known.", ())
    where = [*_classes(ev), *_slices(ev)]
    causes = [finding for finding in where if finding.tone != "good"]  # of much of what the others say
    found = [*causes, *_against_base_rate(ev), *_since(ev, baseline), *_calibration(ev), *_rows(ev)]
    found += [finding for finding in where if finding.tone == "good"]
    found.sort(key=lambda finding: ("bad", "warn", "good").index(finding.tone))
    values = {} if not gates else ev.to_dict() | ({} if baseline is None else {"baseline": baseline.to_dict()})
    return _verdict(found, gates, values, "The model")


def judge_comparison(result: Comparison, gates: Sequence[Gate] = ()) -> Verdict:
    """What is said of two models."""
    first = _difference(result)
    found = [first, *_turned(result)]
    if gates:
        return _verdict(found, gates, result.to_dict(), "B")
    but = f" But {found[1].brief}." if len(found) > 1 else ""
    return Verdict(first.tone if len(found) < 2 or first.tone == "bad" else "warn", first.text + but, tuple(found[1:]))


def _difference(result: Comparison) -> Finding:
    """Which of two models has the lower loss."""
    delta = result.delta
    low, high = sorted((delta.ci_low, delta.ci_high) if delta.mean >= 0.0 else (-delta.ci_low, -delta.ci_high))
    ends = f"95 %: {as_number(low, 3)} to {as_number(high, 3)}"
    size = f"{as_number(abs(delta.mean), 4)} {result.unit} a row ({ends})"
    if math.isinf(delta.mean):
        tone, side = ("good", "A") if delta.mean > 0.0 else ("bad", "B")
        return Finding(
            tone, f"The loss of {side} is infinite, and that of the other is not.", f"{side} loses infinitely"
        )
    if math.isnan(delta.ci_low):
        return Finding("bad", "The difference cannot be judged.", "the difference cannot be judged")
    if delta.ci_low > 0:
        return Finding("good", f"B has the lower loss, by {size}.", "B has the lower loss")
    if delta.ci_high < 0:
        return Finding("bad", f"A has the lower loss, by {size}.", "A has the lower loss")
    chance = f"No difference beyond chance: the interval of the loss difference, {size}, holds 0."
    return Finding("warn", chance, "no difference beyond chance")


def _verdict(found: list[Finding], gates: Sequence[Gate], values: Any, what: str) -> Verdict:
    """The sentence: that of the gates if there are some, else that of what stands out."""
    bad, warn, good = ([each for each in found if each.tone == tone] for tone in ("bad", "warn", "good"))
    standing = "; ".join(each.brief for each in (bad + warn)[:3])
    if gates:
        failed = [line.removeprefix("gate failed: ") for line in failures(gates, values)]
        number = f"{len(gates)} gate" + "s" * (len(gates) > 1)
        if failed:
            count = f"{len(failed)} of {number}" if len(gates) > 1 else "its gate"
            return Verdict("bad", f"{what} may not ship: {count} failed, {'; '.join(failed)}.", tuple(found))
        also = f" Yet {standing}." if standing else ""
        return Verdict("warn" if bad else "good", f"{what} may ship: {number} passed.{also}", tuple(found))
    if bad:
        return Verdict("bad", f"{what} should not ship as it is: {standing}.", tuple(found))
    if warn:
        return Verdict("warn", f"{what} needs a look before it ships: {standing}.", tuple(found))
    briefs = ", ".join(each.brief for each in good)
    return Verdict(
        "good", f"Nothing stands out against {what[0].lower()}{what[1:]}{': ' if briefs else ''}{briefs}.", tuple(found)
    )


def _against_base_rate(ev: Evaluation) -> Iterator[Finding]:
    if math.isinf(ev.loss):
        rows = "some rows" if ev.loss_stats is None else f"{ev.loss_stats.infinite:,} rows"
        yield Finding(
            "bad", f"The loss is infinite: {rows} give their target no probability at all.", "the loss is infinite"
        )
    bounds = ev.auc_bounds
    if bounds is not None and bounds[1] < 0.5:
        yield Finding(
            "bad",
            f"It ranks backwards, with a ROC AUC of {as_number(ev.auc, 3)}: the labels may be exchanged.",
            "it ranks backwards",
        )
    base, what, brief = base_rate(ev), "always predicting the shares of the classes", "the base rate"
    if base is None:
        base, what, brief = _even_guess(ev), "an even guess", "an even guess"
    low, high = (ev.fields.get(name, ev.loss) for name in ("ci_low", "ci_high"))
    if base is None or base <= 0.0 or not all(map(math.isfinite, (ev.loss, low, high))):
        return
    than = f"that of {what}: {as_number(ev.loss, 4)} {ev.unit} against {as_number(base, 4)}."
    if low > base:
        yield Finding("bad", f"The loss is worse than {than}", f"the loss is worse than that of {brief}")
    elif high >= base:
        yield Finding("bad", f"The loss is not surely better than {than}", f"the loss is no better than {brief}")
    else:
        less = f"{as_percent(1.0 - ev.loss / base, 0)} below"
        yield Finding("good", f"The loss is {less} {than}", f"its loss is {less} that of {brief}")


def _since(ev: Evaluation, baseline: Baseline | None) -> Iterator[Finding]:
    """What has changed since the baseline beyond chance, the rows taken for other ones."""
    if baseline is None or "loss" not in baseline.ci95:
        return
    change, p = baseline.delta["loss"], baseline.p_value["loss"]
    size = f"from {as_number(baseline.values['loss'], 4)} to {as_number(ev.loss, 4)} {ev.unit} (p = {as_number(p, 2)})"
    tone, changed = "good", "not changed beyond chance"
    if p < 1.0 - _SURE:
        tone, changed = ("warn", "risen") if change > 0.0 else ("good", "fallen")
    brief = f"its loss has {changed} since the baseline"
    yield Finding(tone, f"Since the baseline the loss has {changed}: {size}.", brief)


def _even_guess(ev: Evaluation) -> float | None:
    """The loss of giving all classes the same probability; None where it depends on the rows."""
    spec = ev.totals.spec
    if not spec.definition.is_log_loss or spec.form in READY or spec.class_weight or spec.pos_weight:
        return None
    return float(ev.unit.of(math.log(spec.num_classes if spec.task == "multiclass" else 2)))


def _calibration(ev: Evaluation) -> Iterator[Finding]:
    found = ev.calibration
    if found is None or ev.totals.spec.soft or math.isnan(found.ece) or ev.num_rows < _ROWS:
        return
    rows = [row for row in found.rows if row["count"]]
    confidence, accuracy = (np.array([row[name] for row in rows], float) for name in ("confidence", "accuracy"))
    weight = np.array([row.get("weight", row["count"]) for row in rows], float)
    share = weight / weight.sum()
    size = as_number(found.ece, 2)
    if found.ece <= _OFF or found.ece <= _CHANCE * ev.fields["ece_floor"]:
        why = "" if found.ece <= _OFF else ", as chance alone may make it of so few rows"
        text = f"The probabilities mean what they say: calibration error {size}{why}."
        yield Finding("good", text, f"its calibration error is {size}")
        return
    way = _way(share, confidence, accuracy, found.ece, binary=ev.totals.spec.task == "binary")
    mend = ' The statistic "temperature" says whether dividing the logits would mend it.'
    if (stats := ev.temperature) is not None and stats.gain > 0.0:
        mend = f" Logits divided by {as_number(stats.best, 3)} would lose {as_number(stats.gain, 3)} {ev.unit} less."
    tone, how = ("bad", "badly ") if found.ece > _FAR_OFF else ("warn", "")
    text = f"It is {how}miscalibrated (calibration error {size}): {way}.{mend}"
    yield Finding(tone, text, f"it is {how}miscalibrated ({way})")


def _way(share: Any, confidence: Any, accuracy: Any, ece: float, *, binary: bool) -> str:
    """In which way confidence and accuracy differ."""
    said, right = float(share @ confidence), float(share @ accuracy)
    if not binary:
        return f"it is {as_percent(said, 1)} sure on average, and right in {as_percent(right, 1)}"
    if abs(said - right) > 0.5 * ece:
        return f"class 1 gets {as_percent(said, 1)} on average, and {as_percent(right, 1)} are of it"
    off = float(share @ (np.sign(confidence - 0.5) * (confidence - accuracy)))
    return "too sure of either class" if off > 0 else "not sure enough of either class"


def _classes(ev: Evaluation) -> Iterator[Finding]:
    counts = ev.confusion
    if counts is None or len(counts) != len(ev.class_names) or len(counts) < 2:
        return
    rows, own = counts.sum(axis=1), np.diag(counts)
    other = (counts - np.diag(own)).max(axis=1)
    most = (counts - np.diag(own)).argmax(axis=1)
    taken = np.flatnonzero((rows >= _ROWS) & (other - own > 2.0 * np.sqrt(other + own)))
    moved = [int(t) for t in taken if 2 * other[t] > rows[t]]
    names = ev.class_names
    if moved:
        pairs = [t for t in moved if int(most[t]) in moved and most[most[t]] == t and t < most[t]]
        if pairs:
            said = ", ".join(f"{names[t]} and {names[most[t]]}" for t in pairs[:3])
            shares = (
                f"{as_percent(other[pairs[0]] / rows[pairs[0]], 0)} of "
                f"{names[pairs[0]]} are taken for {names[most[pairs[0]]]}"
            )
            yield Finding(
                "bad",
                f"Classes look exchanged: {said} ({shares}, and the other way round).",
                f"classes {said} look exchanged",
            )
        else:
            said = ", ".join(
                f"{names[t]} for {names[most[t]]} ({as_percent(other[t] / rows[t], 0)})" for t in moved[:3]
            )
            more = f", and {len(moved) - 3} more" if len(moved) > 3 else ""
            yield Finding(
                "bad",
                f"Most rows of a class are taken for another: {said}{more}. Are the classes in another order?",
                f"most of {names[moved[0]]} is taken for {names[most[moved[0]]]}",
            )
    elif len(taken):
        t = int(taken[np.argmax(other[taken] - own[taken])])
        said = (
            f"{names[t]} is taken for {names[most[t]]} ({as_percent(other[t] / rows[t], 0)}) more often than for itself"
        )
        many = f" This holds for {len(taken)} classes." if len(taken) > 1 else ""
        yield Finding("warn", f"{said[0].upper()}{said[1:]}.{many}", said)


def _slices(ev: Evaluation) -> Iterator[Finding]:
    """The slice that is surely worse and carries most; of single columns, else of crossed ones."""
    tables = [*((ev.margins or {}).items())] or [("", ev.groups)]
    lines = [line for column, table in tables if table is not None for line in _worse(ev, column, table)]
    if not lines and ev.margins:
        lines = _worse(ev, "", ev.groups)
    if not lines:
        if ev.groups is not None and ev.groups.num_rows > 1 and 0.0 < ev.loss < math.inf and "stderr" in ev.fields:
            yield Finding("good", "No slice is surely worse than the rest by much.", "no slice is surely worse by much")
        return
    lines.sort(key=lambda line: -line["excess"])
    line = lines[0]
    base = base_rate(ev)
    beyond = base is not None and line["loss"] > base
    bad = beyond or line["loss"] > _FAR_WORSE * ev.loss
    right = (
        f", accuracy {as_percent(line['accuracy'], 1)} against {as_percent(ev.accuracy or 0.0, 1)}"
        if "accuracy" in line
        else ""
    )
    worse = "more than the base rate" if beyond else f"{as_number(line['loss'] / ev.loss, 2)} times that of all rows"
    more = (
        f" {len(lines) - 1} more {'slice is' if len(lines) == 2 else 'slices are'} surely worse too."
        if len(lines) > 1
        else ""
    )
    size = f"(loss {as_number(line['loss'], 3)}, {worse})"
    yield Finding(
        "bad" if bad else "warn",
        f"{line['name']} is surely worse: loss {as_number(line['loss'], 4)} against {as_number(ev.loss, 4)} of all rows"
        f"{right}. Its {as_percent(line['rows'], 1)} of the rows carry {as_percent(line['losses'], 1)} of the losses. "
        f"Without it the loss would be {as_number(line['others'], 4)}.{more}",
        f"it fails in {line['name']} {size}" if bad else f"{line['name']} is worse {size}",
    )


def _worse(ev: Evaluation, column: str, table: Any) -> list[dict[str, Any]]:
    """Those slices of a table that are surely worse than all rows, and by how much."""
    if "stderr" not in table.column_names or not math.isfinite(ev.loss) or ev.loss <= 0.0:
        return []
    names = [column] if column else table.column_names[: table.column_names.index("count")]
    count, loss, error = (table[name].to_numpy() for name in ("count", "loss", "stderr"))
    weight = table["weight"].to_numpy() if "weight" in table.column_names else count
    sure = NormalDist().inv_cdf(1.0 - (1.0 - _SURE) / (2 * max(table.num_rows, 1)))
    with np.errstate(invalid="ignore"):
        worse = (count >= _ROWS) & (loss - sure * error > ev.loss) & (loss > _WORSE * ev.loss)
    lines = []
    for i in np.flatnonzero(worse):
        row = table.slice(int(i), 1).to_pylist()[0]
        share = weight[i] / weight.sum()
        lines.append(
            {name: row[name] for name in ("loss", "accuracy") if name in row}
            | {
                "name": ", ".join(f"{name} = {group_name(row[name])}" for name in names),
                "rows": share,
                "losses": share * loss[i] / ev.loss,
                "others": (ev.loss - share * loss[i]) / (1.0 - share),
                "excess": share * (loss[i] - ev.loss),
            }
        )
    return lines


def _rows(ev: Evaluation) -> Iterator[Finding]:
    if ev.num_rows < _ROWS:
        few = f"there {'is one row' if ev.num_rows == 1 else f'are {ev.num_rows} rows'} only"
        yield Finding("warn", f"{few[0].upper()}{few[1:]}, too few to be sure of anything.", few)
    if math.isnan(ev.loss):
        yield Finding("bad", "The loss is not a number, as invalid rows make it.", "the loss is not a number")
    rows = ev.rows
    if invalid := sum(rows["invalid"].values()):
        share = as_percent(invalid / rows["read"], 1)
        yield Finding(
            "warn",
            f"{invalid:,} rows ({share}) are invalid and in none of these numbers.",
            f"{share} of the rows are invalid",
        )
    if ev.left_out:
        yield Finding(
            "warn",
            f"{len(ev.left_out)} parts of the data could not be read and are in none of these numbers.",
            "parts of the data could not be read",
        )
    if ev.doubts:
        yield Finding(
            "warn",
            "The predictions may be something else than was said: see the warning.",
            "the predictions may be something else than was said",
        )


def _turned(result: Comparison) -> Iterator[Finding]:
    """Groups in which the side with the higher loss surely has the lower one."""
    lines = [(f"{column} = {value}", each) for column, found in result.groups.items() for value, each in found.items()]
    sign = 1.0 if result.delta.mean >= 0 else -1.0
    other = "A" if sign > 0 else "B"  # the side with the higher loss
    sure = [
        line for line in lines if sign * line[1].delta.mean < 0 and line[1].delta.p_value * len(lines) < 1.0 - _SURE
    ]
    sure.sort(key=lambda line: -abs(line[1].delta.mean))
    if sure:
        said = ", ".join(f"{name} (by {as_number(abs(each.delta.mean), 3)})" for name, each in sure[:3])
        more = f" and {len(sure) - 3} more" if len(sure) > 3 else ""
        yield Finding(
            "warn", f"{other} surely has the lower loss in {said}{more}.", f"{other} is better in {sure[0][0]}"
        )
    hits, test = result.outcome.accuracy_delta, result.outcome.mcnemar
    if hits is not None and test is not None and test.p_value < 1.0 - _SURE and hits.mean * sign > 0:
        size = f"accuracy differs by {as_percent(abs(hits.mean))} (McNemar, p = {as_number(test.p_value, 2)})"
        yield Finding("warn", f"{other} is right more often, though: {size}.", f"{other} is right more often")
