"""Weights: what they multiply, and that neither their scale nor rows that weigh nothing change a statistic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics

import fastxent as fx

P = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
Y = np.array([0, 1, 1, 1])
W = np.array([1.0, 3.0, 2.0, 1.0])
SCALES = [1e-320, 5e-324, 1e-300, 1e-19, 1e-18, 1e-12, 2.0**22, 2.0**39, 2.0**40, 1e100, 5e307]


def problem(n=300, classes=5, seed=1):
    """Logits, targets, weights and clusters."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, classes)) * 3,
        rng.integers(0, classes, n),
        rng.uniform(0.2, 5.0, n),
        rng.integers(0, 40, n),
    )


def evaluated(weight, by=None, **more):
    """Everything that is said of a multiclass problem."""
    z, y, _, clusters = problem()
    columns = {} if by is None else {"group_by": {"g": by}}
    return fx.evaluate(logits=z, target=y, weight=weight, statistics="classwise,entropy".split(","),
                       cluster_by=clusters, units=1 + clusters, **columns, **more)  # fmt: skip


def numbers(evaluation):
    """The fields that do not add up weights."""
    return {name: value for name, value in evaluation.fields.items() if name not in ("weight", "sum", "units")}


def exact_mean(values, weight):
    """The weighted mean, rounded once."""
    terms = sum((Fraction(w) * Fraction(v) for w, v in zip(weight, values, strict=True)), Fraction(0))
    return float(terms / sum(map(Fraction, weight)))


@pytest.mark.parametrize("scale", SCALES)
def test_statistics_of_a_few_rows_at_any_scale(scale):
    weight = W * scale
    found = fx.evaluate(probs=P, target=Y, weight=weight)
    losses = fx.cross_entropy(probs=P, target=Y, reduction="none")
    assert found.loss == pytest.approx(exact_mean(losses, weight), rel=1e-15)
    assert found.accuracy == exact_mean([1.0, 0.0, 1.0, 0.0], weight)
    # Below 2^-1022 the product lost bits, so it is what there is of it that is compared with.
    own = np.array([float(Fraction(w) / sum(map(Fraction, weight))) for w in weight])
    plain = fx.evaluate(probs=P, target=Y, weight=own)
    assert found.fields.keys() == plain.fields.keys()
    for name, value in numbers(found).items():
        assert value == pytest.approx(plain.fields[name], rel=1e-13, nan_ok=True), name


@pytest.mark.parametrize("power", [-1000, -300, -257, -256, -31, -17, -1, 1, 15, 31, 62, 255, 256, 500, 1000])
@pytest.mark.parametrize("by", [False, True])
def test_powers_of_two_change_no_bit(power, by):
    _, y, weight, _ = problem()
    groups = y % 3 if by else None
    one, other = evaluated(weight, groups), evaluated(np.ldexp(weight, power), groups)
    np.testing.assert_equal(numbers(one), numbers(other))
    if by:
        drop = ["weight", "sum", "units"]
        np.testing.assert_equal(*(each.groups.drop_columns(drop).to_pydict() for each in (one, other)))
        assert other.groups["weight"].to_pylist() == np.ldexp(one.groups["weight"].to_numpy(), power).tolist()
    np.testing.assert_equal(*(each.per_class.drop_columns(["weight"]).to_pydict() for each in (one, other)))
    assert (np.ldexp(one.weighted_confusion, power) == other.weighted_confusion).all()


@pytest.mark.parametrize("factor", [3.0, 0.1, 1e-9, 1e12, 1e-250, 1e250])
def test_other_factors_change_at_most_the_last_bits(factor):
    _, _, weight, _ = problem()
    one, other = numbers(evaluated(weight)), numbers(evaluated(weight * factor))
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=1e-14, abs=1e-16, nan_ok=True), name


def test_weights_far_apart():
    """What weighs 2^-2000 of the rest changes no mean, and has precision, recall and losses of its own."""
    z, y, weight, _ = problem()
    weight = weight * np.where(y == 4, 1e-300, 1e300)
    found = fx.evaluate(logits=z, target=y, weight=weight)
    losses = fx.cross_entropy(logits=z, target=y, reduction="none")
    heavy = y != 4
    assert found.loss == pytest.approx(np.average(losses[heavy], weights=weight[heavy]), rel=1e-14)
    assert found.accuracy == pytest.approx(np.average(z.argmax(1)[heavy] == y[heavy], weights=weight[heavy]), rel=1e-14)
    row = found.per_class.to_pylist()[4]
    own = weight[y == 4] * 1e300
    assert row["loss"] == pytest.approx(np.average(losses[y == 4], weights=own), rel=1e-14)
    assert row["recall"] == pytest.approx(np.average(z.argmax(1)[y == 4] == 4, weights=own), rel=1e-14)
    assert row["weight"] == pytest.approx(weight[y == 4].sum(), rel=1e-14)
    assert math.isfinite(found.stderr)


def test_two_rows_at_the_ends_of_the_range():
    found = fx.evaluate(probs=P[:2], target=Y[:2], weight=[1e308, 1e-308])
    assert found.loss == -math.log(0.9)
    assert (found.accuracy, found.ece) == (1.0, pytest.approx(0.1, rel=1e-14))
    assert found.weight == 1e308
    assert math.isinf(fx.evaluate(probs=P, target=Y, weight=W * 5e307).weight)


def test_auc_of_small_weights():
    rng = np.random.default_rng(3)
    z, y, weight = rng.normal(size=500).astype(np.float16), rng.integers(0, 2, 500), rng.uniform(0.1, 9.0, 500)
    right = metrics.roc_auc_score(y, z.astype(float), sample_weight=weight)
    for scale in (1.0, 1e-18, 1e-300, 1e300):
        found = fx.evaluate(logits=z, target=y, task="binary", weight=weight * scale, statistics="ranking")
        assert found.auc == pytest.approx(right, rel=1e-12)
        assert found.auc_bounds == (found.auc, found.auc)


def test_an_infinite_loss_leaves_the_other_statistics_alone():
    probs = np.array([[0.5, 0.5, 0.0], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    target = np.array([2, 1, 0, 0])
    plain, weighted = (fx.evaluate(probs=probs, target=target, weight=w) for w in (None, np.ones(4)))
    for found in (plain, weighted):
        assert found.accuracy == 0.5
        assert found.per_class["precision"].to_pylist() == [0.5, 1.0, 0.0]
        assert found.per_class["loss"].to_pylist()[2] == math.inf
    values = {name: value for name, value in weighted.fields.items() if name != "weight"}
    np.testing.assert_equal(values, plain.fields)


def test_a_row_of_weight_0_is_counted_and_in_no_statistic(tmp_path):
    probs, target, weight = (
        np.array([[1.0, 0.0], [0.9, 0.1], [0.6, 0.4]]),
        np.array([1, 0, 1]),
        np.array([0.0, 1.0, 1.0]),
    )
    found = fx.evaluate(probs=probs, target=target, weight=weight)
    assert found.stderr == pytest.approx(0.40546510810816444, rel=1e-15)
    assert found.rows == {"read": 3, "scored": 2, "ignored": 0, "invalid": {}, "zero_weight": 1}
    assert (found.num_rows, found.loss_stats.max, found.warnings) == (2, -math.log(0.4), [])
    losses = fx.cross_entropy(probs=probs, target=target, reduction="none")
    assert losses.tolist() == [math.inf, -math.log(0.9), -math.log(0.4)]
    with pytest.raises(fx.DataError):
        fx.evaluate(probs=np.where(probs == 0.9, math.nan, probs), target=target, weight=[1.0, 0.0, 1.0])


def test_squares_of_losses_are_exact():
    losses = 10 + 1e-8 * np.random.default_rng(0).random(1000)
    logits = np.stack([np.zeros(1000), losses], axis=1)
    exact = [Fraction(v) for v in fx.cross_entropy(logits=logits, target=np.zeros(1000, int), reduction="none")]
    mean = sum(exact) / 1000
    variance = float(sum((v - mean) ** 2 for v in exact) / 999)
    for weight in (None, np.ones(1000)):
        found = fx.evaluate(logits=logits, target=np.zeros(1000, int), weight=weight)
        assert found.variance == variance
        assert found.stderr == pytest.approx(math.sqrt(variance / 1000), rel=1e-15)


def test_a_comparison_does_not_depend_on_the_scale_of_weights():
    z, y, weight, clusters = problem()
    other = z + np.random.default_rng(5).normal(size=z.shape)

    def compared(weight, rows=slice(None)):
        sides = [
            pa.table({"z": scores[rows].tolist(), "y": y[rows], "w": weight[rows], "c": clusters[rows]})
            for scores in (z, other)
        ]
        return fx.compare(*sides, "y", logits="z", by_order=True, weight="w", cluster_by="c")

    one = compared(weight)
    for power in (-1000, -600, -40, 40, 600, 1000):
        scaled = compared(np.ldexp(weight, power))
        assert scaled.delta == one.delta
        assert scaled.outcome.accuracy_delta == one.outcome.accuracy_delta
        assert scaled.outcome.weight_sum == math.ldexp(one.outcome.weight_sum, power)
    weight[::3] = 0.0
    whole, rest = compared(weight), compared(weight, weight > 0)
    assert (whole.delta, whole.outcome.wins, whole.num_rows) == (rest.delta, rest.outcome.wins, 200)
    assert whole.to_dict()["rows"]["zero_weight"] == 100


@pytest.mark.parametrize("weighted", [False, True])
def test_a_class_without_weight_keeps_its_share_of_smoothed_losses_by_group_too(weighted):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    rows, weights = 4000, [1.0, 0.0, 2.0]
    z, y, groups = rng.normal(size=(rows, 3)), rng.integers(0, 3, rows), rng.integers(0, 3, rows)
    w = rng.random(rows) + 0.5 if weighted else np.ones(rows)
    options = {"class_weight": weights, "label_smoothing": 0.1}
    ev = fx.evaluate(logits=z, target=y, group_by=groups, weight=w if weighted else None, **options)
    for group in range(3):
        here = groups == group
        alone = fx.evaluate(logits=z[here], target=y[here], weight=w[here] if weighted else None, **options)
        assert ev.group(group).loss == alone.loss == ev.groups["loss"][group].as_py()
        assert ev.group(group).loss_stats.stderr == alone.loss_stats.stderr
        losses = torch.nn.functional.cross_entropy(
            torch.from_numpy(z[here]), torch.from_numpy(y[here]), torch.tensor(weights, dtype=torch.float64),
            reduction="none", label_smoothing=0.1,
        ).numpy()  # fmt: skip
        expected = (losses * w[here]).sum() / (np.array(weights)[y[here]] * w[here]).sum()
        assert alone.loss == pytest.approx(expected, rel=1e-13)
