"""The softmax kernels against multiprecision twins, and the laws their bits obey."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastxent.base.status import Status
from tests import naive
from tests.cases import CASES
from tests.naive import DTYPE, KINDS
from tests.rows import WAYS, same_bits, score
from tests.strategies import logits

law = settings(deadline=None, max_examples=60)
multiclass = [case for case in CASES if case.task == "multiclass" and case.form == "logits"]


def check(z, t, scored, i, loss_bound=4.0):
    """Row i against its twin: losses within 4 ulp, what derives from them within 8, whole numbers exactly."""
    row = naive.softmax_row(z[i].astype(np.float64), int(t[i]))
    assert scored.status[i] == Status.SCORED
    assert naive.ulps(scored.loss[i], row.loss) <= loss_bound
    for name in ("p_target", "confidence", "brier"):
        got, wanted = getattr(scored, name)[i], getattr(row, name)
        assert naive.ulps(got, wanted) <= 4 + loss_bound or abs(got - wanted) < 1e-300, name
    assert (scored.predicted[i], scored.rank[i]) == (row.predicted, row.rank)


@pytest.mark.parametrize("classes", [1, 2, 3, 10, 31, 32, 33, 48, 49, 100, 255, 256, 257, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_every_score_of_a_row_and_one_result_whatever_the_loop(kind, classes):
    rng = np.random.default_rng(classes)
    for case in multiclass:
        z, t = case.generate(rng, 19, classes, kind)
        results = [score(z, t, way) for way in WAYS]
        assert all(same_bits(results[0], other) for other in results)
        for i in range(0, 19, 1 + classes // 25):
            check(z, t, results[0], i)


@pytest.mark.parametrize("classes", [5003, 200_000])
@pytest.mark.parametrize("kind", KINDS)
def test_long_rows(kind, classes):
    rng = np.random.default_rng(classes)
    # Few distinct values, so that the twin is quick.
    z = rng.integers(-2047, 2048, (2, classes)).astype(np.float32) / 256
    z[1, 17] = 40.0
    z = z.astype(DTYPE[kind])
    t = np.array([classes - 1, 17])
    result = score(z, t, "along")
    for i in range(2):
        check(z, t, result, i)


def test_long_rows_are_the_same_across():
    z = np.random.default_rng(0).normal(size=(17, 5003)).astype(np.float32)
    t = np.arange(17) * 294
    assert same_bits(score(z, t, "along"), score(z, t, "across"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_differences_that_are_no_float64_numbers_are_not_rounded(way, kind):
    """Magnitudes 2^28 apart and more: rounding z_j - z_t would move the loss by up to 32 ulp."""
    rng = np.random.default_rng(28)
    large = rng.uniform(8.0, 64.0, (200, 1)) * rng.choice([-1.0, 1.0], (200, 1))
    small = rng.uniform(1.0, 2.0, (200, 3)) * 2.0 ** rng.integers(-60, -28, (200, 3))
    z = np.where(rng.random((200, 3)) < 0.5, large, small)
    z = z.astype(DTYPE[kind])
    t = rng.integers(0, 3, 200)
    result = score(z, t, way)
    for i in range(200):
        assert naive.ulps(result.loss[i], naive.softmax_row(z[i].astype(np.float64), int(t[i])).loss) <= 4.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_confident_rows_keep_their_relative_accuracy_down_to_1e_300(way, kind):
    lead = np.arange(1.0, 690.0, 3.0)
    z = np.zeros((lead.size, 12), DTYPE[kind])
    z[:, 3] = lead
    t = np.full(lead.size, 3)
    result = score(z, t, way)
    assert result.loss.min() < 1e-297
    for i in range(lead.size):
        check(z, t, result, i)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lead", [339.0, 340.0, 340.5, 700.0, 1e4, 1e38])
def test_targets_far_behind(way, lead):
    z = np.array([[0.0, lead, lead, -lead, 1.0]] * 3, np.float32)
    t = np.array([0, 3, 1])
    result = score(z, t, way)
    for i in range(3):
        check(z, t, result, i)


@given(st.integers(0, 2**32), st.integers(2, 60), st.sampled_from([1e-3, 1.0, 1e3, 1e15, 1e300]))
@settings(deadline=None, max_examples=150)
def test_any_float64_however_much_its_differences_are_rounded(seed, classes, scale):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(1, classes)) * scale + rng.normal() * 1000
    t = np.array([rng.integers(classes)])
    result = score(z, t, "across")
    row = naive.softmax_row(z[0], int(t[0]))
    if row.loss < mp.mpf(2) ** -1000:
        assert result.loss[0] < 2.0**-999
    else:
        assert naive.ulps(result.loss[0], row.loss) <= 4
    assert (result.predicted[0], result.rank[0]) == (row.predicted, row.rank)


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [0, 60])
@pytest.mark.parametrize(
    ("row", "t", "status", "loss"),
    [
        ([1.0, NAN, 2.0], 0, Status.NAN_PREDICTION, None),
        ([1.0, NAN, 2.0], 1, Status.NAN_PREDICTION, None),
        ([INF, NAN, 2.0], 2, Status.NAN_PREDICTION, None),
        ([-INF, NAN, -INF], 0, Status.NAN_PREDICTION, None),
        ([1.0, INF, 2.0], 0, Status.INFINITE_LOGIT, None),
        ([1.0, INF, 2.0], 1, Status.INFINITE_LOGIT, None),
        ([INF, INF, INF], 1, Status.INFINITE_LOGIT, None),
        ([-INF, INF, -INF], 0, Status.INFINITE_LOGIT, None),
        ([-INF, -INF, -INF], 2, Status.ALL_MASKED, None),
        ([-INF, 3.0, -INF], 1, Status.SCORED, 0.0),
        ([-INF, 3.0, -INF], 0, Status.SCORED, INF),
        ([-INF, 3.0, 3.0], 0, Status.SCORED, INF),
        ([-INF, 3.0, 3.0], 1, Status.SCORED, math.log(2.0)),
    ],
)
def test_rows_that_are_not_finite(way, kind, padding, row, t, status, loss):
    """The table of what NaN and infinities mean; masked classes before and after change nothing."""
    rest = [-INF] * padding
    # Ordinary neighbours: one row's fate must not reach another's.
    z = np.array([[0.0] * (3 + padding), rest + row, [0.0] * (3 + padding)], DTYPE[kind])
    result = score(z, [1, padding + t, 2], way)
    assert result.status.tolist() == [Status.SCORED, status, Status.SCORED]
    assert result.loss[0] == result.loss[2] == pytest.approx(math.log(3 + padding), rel=1e-15)
    if loss is not None:
        assert result.loss[1] == pytest.approx(loss, rel=1e-15)
        assert not np.signbit(result.loss[1])
        assert result.predicted[1] == padding + np.argmax(row)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("classes", [5, 40, 70])
def test_labels(way, classes):
    z = np.random.default_rng(1).normal(size=(6, classes))
    t = np.array([0, classes, -1, -100, classes - 1, 2**40])
    result = score(z, t, way, ignore=-100)
    out = Status.LABEL_OUT_OF_RANGE
    assert result.status.tolist() == [Status.SCORED, out, out, Status.IGNORED, Status.SCORED, out]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 7, 33, 70, 300])
def test_ties_zeros_and_subnormals_rank_by_position(kind, classes):
    tiny = float(np.finfo(DTYPE[kind]).smallest_subnormal) if kind != "bfloat16" else 2.0**-133
    rng = np.random.default_rng(classes)
    z = rng.choice(np.array([0.0, -0.0, tiny, -tiny, 2 * tiny]), size=(64, classes)).astype(DTYPE[kind])
    t = rng.integers(0, classes, 64)
    wide = z.astype(np.float64)
    own = wide[np.arange(64), t][:, None]
    before = np.arange(classes) < t[:, None]
    rank = ((wide > own) | ((wide == own) & before)).sum(axis=1)
    for way in WAYS:
        result = score(z, t, way)
        assert result.rank.tolist() == rank.tolist()
        assert result.predicted.tolist() == wide.argmax(axis=1).tolist()
        assert np.array_equal(result.rank == 0, result.predicted == t)


@given(logits())
@law
def test_along_across_and_columns_give_the_same_bits(rows):
    first, *others = (score(*rows, way) for way in WAYS)
    assert all(same_bits(first, other) for other in others)


@pytest.mark.parametrize("value", [-INF, INF, NAN])
@pytest.mark.parametrize("classes", [1, 5, 40])
def test_a_row_without_a_softmax_is_the_same_in_every_loop(value, classes):
    z = np.full((3, classes), value, np.float16)
    t = np.array([0, classes // 2, classes - 1])
    first, *others = (score(z, t, way) for way in WAYS)
    assert all(same_bits(first, other) for other in others)


@given(logits(kinds=("float16", "bfloat16", "float32")))
@law
def test_narrow_types_give_the_bits_of_their_float64_values(rows):
    wide = rows.z.astype(np.float64)
    assert same_bits(score(*rows, "along"), score(wide, rows.t, "along"))
    assert same_bits(score(*rows, "across"), score(wide, rows.t, "across"))


@given(logits(kinds=("float32",)), st.sampled_from(["along", "across"]))
@law
def test_the_loss_does_not_depend_on_what_else_is_asked(rows, way):
    assert score(*rows, way, full=False).loss.tobytes() == score(*rows, way).loss.tobytes()


@given(logits(), st.sampled_from(WAYS), st.randoms(use_true_random=False))
@law
def test_a_row_does_not_depend_on_the_rows_around_it(rows, way, random):
    order = list(range(len(rows.t)))
    random.shuffle(order)
    whole = score(*rows, way)
    cut = random.randint(1, len(order))
    parts = [score(rows.z[part], rows.t[part], way) for part in (order[:cut], order[cut:]) if part]
    for name in whole._fields:
        shuffled = np.concatenate([getattr(part, name) for part in parts])
        assert shuffled.tobytes() == getattr(whole, name)[order].tobytes(), name


@given(logits(kinds=("float16",)), st.integers(-64, 64))
@law
def test_shifts_that_are_exact_change_nothing(rows, shift):
    z = rows.z.astype(np.float64)  # multiples of 2^-24 below 2^16: sums with an integer are exact
    assert same_bits(score(z, rows.t, "along"), score(z + shift, rows.t, "along"))


@given(logits(max_rows=8), st.sampled_from(["along", "across"]), st.integers(1, 7))
@law
def test_read_only_misaligned_and_strided_rows(rows, way, offset):
    n, classes = rows.z.shape
    size = rows.z.itemsize
    memory = np.zeros(offset + n * (classes * size + 5), np.uint8)
    odd = np.ndarray((n, classes), rows.z.dtype, memory, offset, (classes * size + 5, size))
    odd[:] = rows.z
    memory.flags.writeable = False
    odd.flags.writeable = False
    assert same_bits(score(odd, rows.t, way), score(*rows, way))


def test_more_rows_than_a_block():
    z = np.random.default_rng(5).normal(size=(2500, 10)).astype(np.float32)
    t = np.arange(2500) % 10
    whole = score(z, t, "across")
    one_by_one = [score(z[i : i + 1], t[i : i + 1], "along").loss[0] for i in range(0, 2500, 83)]
    assert whole.loss[::83].tolist() == one_by_one


def test_the_twin_itself():
    """The twin against a hand-made row."""
    row = naive.softmax_row([0.0, math.log(3.0), -math.inf], 0)
    assert float(row.loss) == pytest.approx(math.log(4.0))
    assert float(row.brier) == pytest.approx(0.75**2 * 2)
    assert (row.predicted, row.rank) == (1, 1)
