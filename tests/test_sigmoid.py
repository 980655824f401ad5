"""Binary and multilabel kernels against mpmath, SciPy, scikit-learn and torch, on every kind of number and layout."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath as mp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import log_loss

from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, Problem, new_work
from fastxent.kernels.contract.scorecard import BLOCK
from fastxent.kernels.rows.binary import binary
from fastxent.kernels.rows.multilabel import multilabel
from fastxent.kernels.rows.sigmoid import Form

mp.mp.dps = 50
INF = math.inf
NAN = math.nan
FORMS: tuple[Form, ...] = ("logits", "probs", "log_probs")
KINDS = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
NONE = np.zeros(0)

Array = NDArray[Any]


class Scores:
    """The scorecards of all rows, side by side."""

    def __init__(self, real: Array, whole: Array, status: Array) -> None:
        self.loss, self.p_target, self.confidence, self.brier, self.margin = (
            real[k] for k in (sc.LOSS, sc.P_TARGET, sc.CONFIDENCE, sc.BRIER, sc.MARGIN)
        )
        self.target, self.predicted, self.rank = (whole[k] for k in (sc.TARGET, sc.PREDICTED, sc.RANK))
        self.status = status
        self.bytes = b"".join(x.tobytes() for x in (self.loss, status))


def kind_of(x: Array) -> str:
    return x.dtype.name


def drive(rows: Any, n: int, classes: int, block: int = BLOCK, **fields: Any) -> Scores:
    """Run a row kernel over n rows, ``block`` at a time."""
    empty: dict[str, Any] = {
        "mask": 0, "mask_stride": 0, "has_ignore": False, "ignore": 0, "smoothing": 0.0, "clip": -1.0,
        "normalize": False, "parameters": NONE, "class_weight": NONE, "pos_weight": NONE,
    }  # fmt: skip
    p = Problem(**(empty | fields), classes=classes)
    card = sc.new_scorecard()
    work = new_work(classes, 8)
    parts = []
    for lo in range(0, n, block):
        m = min(block, n - lo)
        card.real[:] = 77.0
        card.whole[:] = 77
        card.status[:] = 77
        rows(p, lo, m, card, work)
        parts.append((card.real[:, :m].copy(), card.whole[:, :m].copy(), card.status[:m].copy()))
    return Scores(*(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)))


def score(z: Array, y: Array, form: Form = "logits", full: bool = True, block: int = BLOCK, **fields: Any) -> Scores:
    rows = binary(form, kind_of(z), kind_of(y), full)
    return drive(
        rows, len(z), 1, block,
        scores=z.ctypes.data, stride=z.strides[0], target=y.ctypes.data, target_stride=y.strides[0], **fields,
    )  # fmt: skip


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def costs(form: str, score: float) -> tuple[Any, Any]:
    """-log p and -log(1 - p) in 50 digits."""
    with mp.workdps(400 if form != "logits" else 50):
        x = mp.mpf(score)
        if form == "logits":
            return softplus(-x), softplus(x)
        if form == "probs":
            return (-mp.log(x) if x else mp.inf), (-mp.log(1 - x) if x != 1 else mp.inf)
        return -x, (-mp.log(-mp.expm1(x)) if x else mp.inf)


def twin(form: str, score: float, y: float, w: float = 1.0, a: float = 0.0) -> Any:
    """The loss as it is written in the documentation."""
    positive, negative = costs(form, score)
    y, a = mp.mpf(y), mp.mpf(a)
    smooth = y * (1 - a) + a / 2
    first, second = w * smooth, 1 - smooth
    return (first * positive if first else 0) + (second * negative if second else 0)


def ulps(got: float, want: Any) -> float:
    """Distance in units in the last place of the wanted number."""
    if not mp.isfinite(want) or math.isinf(got):
        return 0.0 if got == want else INF
    return float(abs(mp.mpf(got) - want) / mp.mpf(math.ulp(float(want)))) if want else (0.0 if got == 0 else INF)


def worst(got: Array, want: list[Any]) -> float:
    return max(ulps(g, w) for g, w in zip(got.tolist(), want, strict=True))


def sample(form: str, kind: str, n: int, seed: int = 0) -> Array:
    """Scores of a form as numbers of a kind."""
    z = np.random.default_rng(seed).standard_normal(n) * 4
    x = {"logits": z, "probs": expit(z), "log_probs": -np.logaddexp(0.0, -z)}[form]
    return np.minimum(x.astype(KINDS[kind]), KINDS[kind](1 if form == "probs" else 0 if form == "log_probs" else 100))


def labels(n: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).integers(0, 2, n)


def score_labels(
    z: Array,
    y: Array,
    form: Form = "logits",
    mask: Array | None = None,
    full: bool = True,
    block: int = BLOCK,
    **fields: Any,
) -> Scores:
    rows = multilabel(form, kind_of(z), kind_of(y), full, mask is not None)
    if mask is not None:
        fields |= {"mask": mask.ctypes.data, "mask_stride": mask.strides[0]}
    return drive(
        rows,
        len(z),
        z.shape[1],
        block,
        target=y.ctypes.data,
        target_stride=y.strides[0],
        scores=z.ctypes.data,
        stride=z.strides[0],
        **fields,
    )


# --- accuracy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "kind"),
    [("logits", kind) for kind in KINDS] + [("probs", "float16"), ("probs", "float32"), ("log_probs", "float16")],
)
def test_hard_loss_is_right_to_a_few_ulp(form: Form, kind: str) -> None:
    z, y = sample(form, kind, 700), labels(700)
    got = score(z, y, form)
    assert not got.status.any()
    assert worst(got.loss, [twin(form, float(s), int(t)) for s, t in zip(z, y, strict=True)]) <= 2.5


@pytest.mark.parametrize("form", FORMS)
def test_weighted_smoothed_soft_loss_is_right_to_a_few_ulp(form: Form) -> None:
    z = sample(form, "float64", 500)
    y = np.random.default_rng(3).random(500)
    y[:50] = np.round(y[:50])
    for w, a in ((1.0, 0.0), (3.7, 0.0), (0.3, 0.1), (0.0, 0.0), (1.0, 1.0)):
        got = score(z, y, form, pos_weight=np.array([w]), smoothing=a)
        want = [twin(form, s, t, w, a) for s, t in zip(z.tolist(), y.tolist(), strict=True)]
        assert worst(got.loss, want) <= 4.0, (w, a)


def test_confident_logits_keep_their_relative_accuracy() -> None:
    near = np.geomspace(1e-300, 700, 200)
    z = np.concatenate([np.linspace(-745.0, 745.0, 801), -near, near])
    for y in (0, 1):
        t = np.full(len(z), y)
        got = score(z, t).loss
        want = [twin("logits", s, y) for s in z.tolist()]
        kept = [i for i, w in enumerate(want) if w > 1e-300]
        assert len(kept) > 1000
        assert worst(got[kept], [want[i] for i in kept]) <= 2.5
        assert worst(score(z, t.astype("f8")).loss[kept], [want[i] for i in kept]) <= 2.5


def test_probabilities_near_the_ends() -> None:
    small = np.concatenate([np.geomspace(5e-324, 0.5, 400), [0.0, 2.0**-1022, 2.0**-1023, 2.0**-53, 2.0**-54]])
    p = np.concatenate([small, 1.0 - np.geomspace(2.0**-53, 0.5, 300), [1.0]])
    for y in (0, 1):
        got = score(p, np.full(len(p), y), "probs")
        assert not got.status.any()
        assert worst(got.loss, [twin("probs", s, y) for s in p.tolist()]) <= 2.5


def test_log_probabilities_near_the_ends() -> None:
    a = np.concatenate([np.geomspace(5e-324, 700, 800), np.linspace(0.3, 1.5, 300), [0.0, math.log(2), INF]])
    for y in (0, 1):
        got = score(-a, np.full(len(a), y), "log_probs")
        assert not got.status.any()
        kept = np.array([y == 1 or x < 690 for x in a])
        assert worst(got.loss[kept], [twin("log_probs", -x, y) for x in a[kept].tolist()]) <= 4.0
    assert score(np.array([-INF]), np.array([0]), "log_probs").loss[0] == 0.0


# --- rules -----------------------------------------------------------------------------------------------------

RULES = [
    # form, score, target, loss or status
    ("logits", INF, 1, 0.0),
    ("logits", -INF, 0, 0.0),
    ("logits", INF, 0, INF),
    ("logits", -INF, 1, INF),
    ("logits", NAN, 1, sc.NAN_PREDICTION),
    ("logits", 0.0, 1, math.log(2)),
    ("logits", -0.0, 0, math.log(2)),
    ("logits", 800.0, 1, 0.0),
    ("logits", -1e308, 1, 1e308),
    ("logits", 1.0, 2, sc.LABEL_OUT_OF_RANGE),
    ("logits", 1.0, -1, sc.LABEL_OUT_OF_RANGE),
    ("logits", NAN, 7, sc.LABEL_OUT_OF_RANGE),
    ("logits", NAN, -100, sc.IGNORED),
    ("logits", 0.0, 1.5, sc.INVALID_TARGET),
    ("logits", 0.0, -1e-9, sc.INVALID_TARGET),
    ("logits", 0.0, NAN, sc.INVALID_TARGET),
    ("logits", 0.0, -100.0, sc.IGNORED),
    ("logits", INF, 0.5, INF),
    ("logits", INF, 1.0, 0.0),
    ("logits", -INF, 0.0, 0.0),
    ("probs", 1.0, 1, 0.0),
    ("probs", 0.0, 0, 0.0),
    ("probs", -0.0, 0, 0.0),
    ("probs", 0.0, 1, INF),
    ("probs", 1.0, 0, INF),
    ("probs", 1.0, 1.0, 0.0),
    ("probs", 0.0, 0.25, INF),
    ("probs", 1.0000001, 1, sc.PROBABILITY_OUT_OF_RANGE),
    ("probs", -1e-9, 0, sc.PROBABILITY_OUT_OF_RANGE),
    ("probs", INF, 0, sc.PROBABILITY_OUT_OF_RANGE),
    ("probs", NAN, 0, sc.NAN_PREDICTION),
    ("probs", 2.0, 3, sc.LABEL_OUT_OF_RANGE),
    ("log_probs", 0.0, 1, 0.0),
    ("log_probs", -0.0, 0, INF),
    ("log_probs", -INF, 0, 0.0),
    ("log_probs", -INF, 1, INF),
    ("log_probs", 1e-9, 1, sc.PROBABILITY_OUT_OF_RANGE),
    ("log_probs", NAN, 1, sc.NAN_PREDICTION),
]


@pytest.mark.parametrize(("form", "x", "y", "result"), RULES)
def test_rules(form: Form, x: float, y: float, result: float) -> None:
    got = score(np.array([x]), np.array([y]), form, has_ignore=True, ignore=-100)
    if isinstance(result, int):
        assert got.status[0] == result
    else:
        assert got.status[0] == sc.SCORED
        assert got.loss[0] == result
        assert math.copysign(1.0, got.loss[0]) == 1.0


def test_a_weight_of_zero_silences_an_infinite_loss() -> None:
    z, y = np.array([-INF, INF]), np.array([1, 0])
    got = score(z, y, pos_weight=np.zeros(1))
    assert got.loss.tolist() == [0.0, INF]
    assert score(np.array([0.0]), np.array([1]), "probs", pos_weight=np.zeros(1)).loss[0] == 0.0
    assert score(np.array([-INF]), np.array([1.0]), "log_probs", pos_weight=np.zeros(1)).loss[0] == 0.0


def test_ignore_may_name_a_class() -> None:
    got = score(np.zeros(4), np.array([0, 1, 0, 1]), has_ignore=True, ignore=1)
    assert got.status.tolist() == [sc.SCORED, sc.IGNORED] * 2


def test_clip_bounds_the_loss_and_nothing_else() -> None:
    p = np.array([0.0, 1e-9, 0.3, 1.0, 1.0])
    y = np.array([1, 1, 0, 0, 1])
    got, free = score(p, y, "probs", clip=1e-7), score(p, y, "probs")
    c = np.clip(p, 1e-7, 1 - 1e-7)
    np.testing.assert_allclose(got.loss, np.where(y == 1, -np.log(c), -np.log1p(-c)), rtol=1e-15)
    np.testing.assert_array_equal(got.brier, free.brier)
    np.testing.assert_array_equal(got.margin, free.margin)


# --- the rest of the scorecard -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("soft", [False, True])
def test_scorecard(form: Form, soft: bool) -> None:
    z = sample(form, "float64", 300)
    z[0] = {"logits": 0.0, "probs": 0.5, "log_probs": -math.log(2)}[form]
    y: Array = np.random.default_rng(5).random(300) if soft else labels(300)
    got = score(z, y, form, pos_weight=np.array([3.0]), smoothing=0.1)
    assert got.predicted[0] == 0
    with mp.workdps(50):
        for i, (s, t) in enumerate(zip(z.tolist(), y.tolist(), strict=True)):
            x = mp.mpf(s)
            p = {"logits": lambda x: 1 / (1 + mp.exp(-x)), "probs": mp.mpf, "log_probs": mp.exp}[form](x)
            margin = mp.log(p) - mp.log1p(-p)
            assert got.target[i] == (t >= 0.5)
            if i > 0:
                assert got.predicted[i] == (p > 0.5)
            assert got.rank[i] == (got.predicted[i] != got.target[i])
            assert ulps(got.p_target[i], p if t >= 0.5 else 1 - p) <= 4
            assert ulps(got.confidence[i], max(p, 1 - p)) <= 4
            assert abs(got.margin[i] - margin) <= 1e-15 * (1 + abs(margin))
            if soft:
                assert abs(got.brier[i] - (p - t) ** 2) <= 1e-15
            else:
                assert ulps(got.brier[i], (p - t) ** 2) <= 10


def test_margin_follows_the_score() -> None:
    for form in FORMS:
        for kind in ("float16",):
            x = np.arange(0x10000, dtype=np.uint16).view(KINDS[kind])
            with np.errstate(invalid="ignore"):
                real = x.astype(np.float64)
            x = x[np.argsort(real, kind="stable")]
            real = np.sort(real)
            keep = {"logits": np.abs(real) < INF, "probs": (real >= 0) & (real <= 1), "log_probs": real <= 0}[form]
            got = score(x[keep].copy(), np.zeros(keep.sum(), np.int64), form)
            assert not got.status.any()
            assert (got.margin[1:] >= got.margin[:-1]).all()


# --- layout ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "target"), [("float16", "int64"), ("bfloat16", "uint8"), ("float32", "float32")])
def test_layout_does_not_change_a_bit(kind: str, target: str) -> None:
    n = 150
    z = sample("logits", kind, n)
    y = labels(n).astype(KINDS.get(target, target))
    got = score(z, y)
    wide = np.zeros((n, 3), z.dtype)
    wide[:, 1] = z
    spread = np.zeros((n, 2), y.dtype)
    spread[:, 1] = y
    assert score(wide[:, 1], y).bytes == got.bytes
    assert score(z, spread[:, 1]).bytes == got.bytes
    assert score(wide[:, 1], spread[:, 1]).bytes == got.bytes
    for block in (1, 7, 16, 33):
        other = score(z, y, block=block)
        assert other.bytes == got.bytes
        np.testing.assert_array_equal(other.brier, got.brier)
        np.testing.assert_array_equal(other.predicted, got.predicted)
    order = np.random.default_rng(2).permutation(n)
    np.testing.assert_array_equal(score(z[order], y[order]).loss, got.loss[order])
    np.testing.assert_array_equal(score(z[::-1], y[::-1]).loss, got.loss[::-1])
    assert score(z, y, full=False).bytes == got.bytes


@pytest.mark.parametrize("form", FORMS)
def test_kinds_of_targets_agree(form: Form) -> None:
    z, y = sample(form, "float32", 100), labels(100)
    got = score(z, y, form, full=False)
    for kind in ["int8", "uint16", "uint64", "bfloat16"] if form == "logits" else ["float64"]:
        assert score(z, y.astype(KINDS.get(kind, kind)), form, full=False).bytes == got.bytes, kind
    plain = score(z, y, form, full=False, pos_weight=np.ones(1))
    np.testing.assert_array_equal(plain.loss, got.loss)


def test_neighbours_do_not_matter() -> None:
    z, y = sample("logits", "float32", 64), labels(64)
    got = score(z, y)
    z[::2] = np.tile(np.float32([NAN, INF, -INF, 1e30]), 8)
    y[2::4] = 9
    other = score(z, y)
    np.testing.assert_array_equal(other.loss[1::2], got.loss[1::2])
    assert not other.status[1::2].any()
    assert (other.status[2::4] == sc.LABEL_OUT_OF_RANGE).all()


# --- many labels a row -------------------------------------------------------------------------------------------


def defined_mean(terms: Array, count: int) -> float:
    """The mean of a row as it is defined: that of its losses, rounded once."""
    return float(sum(map(Fraction, terms.tolist()), Fraction(0)) / count)


@pytest.mark.parametrize(
    ("form", "kind", "target", "count"),
    [("logits", "float16", "int64", 600), ("probs", "float32", "int64", 33), ("log_probs", "float64", "float64", 5)],
)  # fmt: skip
def test_labels_are_binary_rows(form: Form, kind: str, target: str, count: int) -> None:
    n = 9
    z = sample(form, kind, n * count).reshape(n, count)
    y = labels(n * count).reshape(n, count).astype(target)
    w = np.random.default_rng(4).random(count) + 0.5
    r = np.random.default_rng(6).random((n, count))
    mask = r < 0.7
    mask[3] = False
    for weights in (NONE, w):
        for shown in (None, mask):
            for smoothing in (0.0, 0.2):
                fields = {"pos_weight": weights, "smoothing": smoothing}
                got = score_labels(z, y, form, shown, **fields)
                for i in range(n):
                    keep = np.ones(count, bool) if shown is None else shown[i]
                    if not keep.any():
                        assert got.status[i] == sc.IGNORED
                        continue
                    one = [
                        score(z[i, j : j + 1].copy(), y[i, j : j + 1].copy(), form, smoothing=smoothing,
                              pos_weight=weights[j : j + 1])
                        for j in range(count)
                    ] if i == 0 else None  # fmt: skip
                    if one is not None:
                        terms = np.array([x.loss[0] if k else 0.0 for x, k in zip(one, keep, strict=True)])
                        assert got.loss[i] == defined_mean(terms, int(keep.sum()))
                    flat = score(z[i], y[i], form, smoothing=smoothing)
                    assert got.rank[i] == flat.rank[keep].sum()
                    assert got.predicted[i] == flat.predicted[keep].sum()
                    assert got.target[i] == flat.target[keep].sum()
                    np.testing.assert_allclose(got.brier[i], flat.brier[keep].mean(), rtol=1e-13)
                    np.testing.assert_allclose(got.confidence[i], flat.confidence[keep].mean(), rtol=1e-13)
                    np.testing.assert_allclose(got.p_target[i], flat.p_target[keep].mean(), rtol=1e-13)


@pytest.mark.parametrize("target", ["float32", "int8"])
@pytest.mark.parametrize("count", [1, 5, 8, 33, 80, 255, 257, 600])
def test_a_stream_of_rows_is_its_rows(target: str, count: int) -> None:
    n = 600 // count + 9
    z, y = sample("logits", "float32", n * count), labels(n * count)
    terms = score(z, y, full=False).loss.reshape(n, count)
    want = [defined_mean(row, count) for row in terms]
    z, y = z.reshape(n, count), y.reshape(n, count).astype(target)
    got = score_labels(z, y, full=False)
    np.testing.assert_array_equal(got.loss, want)
    assert not got.status.any()
    assert score_labels(z, y, full=False, block=3).bytes == got.bytes
    np.testing.assert_array_equal(score_labels(z[::-1], y[::-1], full=False).loss, got.loss[::-1])
    wide, spread = np.zeros((n, count + 3), z.dtype), np.zeros((n, count + 1), y.dtype)
    wide[:, :count], spread[:, :count] = z, y
    assert score_labels(wide[:, :count], spread[:, :count], full=False).bytes == got.bytes
    # Rows that are not plain, among others that are.
    z[2, -1], z[4, 0], y[5, count // 2] = NAN, -INF, 9
    other = score_labels(z, y, full=False)
    kept = np.delete(np.arange(n), [2, 4, 5])
    np.testing.assert_array_equal(other.loss[kept], got.loss[kept])
    fates = [sc.NAN_PREDICTION, sc.SCORED, sc.INVALID_TARGET if target == "float32" else sc.LABEL_OUT_OF_RANGE]
    assert other.status[[2, 4, 5]].tolist() == fates
    assert not other.status[kept].any()


def test_labels_that_do_not_count() -> None:
    z = np.zeros((6, 40))
    y = np.ones((6, 40), np.int64)
    y[0, :39] = -100
    z[0, 3] = NAN
    y[1] = -100
    z[2, 39] = NAN
    y[3, 35] = 2
    z[3, 0] = NAN
    z[4, 7] = -INF
    got = score_labels(z, y, has_ignore=True, ignore=-100)
    fates = [sc.SCORED, sc.IGNORED, sc.NAN_PREDICTION, sc.LABEL_OUT_OF_RANGE, sc.SCORED, sc.SCORED]
    assert got.status.tolist() == fates
    np.testing.assert_allclose(got.loss[[0, 4, 5]], [math.log(2), INF, math.log(2)], rtol=1e-15)
    assert got.brier[[0, 5]].tolist() == [0.25, 0.25]
    p = np.full((2, 3), 0.5)
    p[0, 1] = 1.5
    hidden = np.array([[True, False, True], [True, True, True]])
    two = np.ones((2, 3), np.int64)
    assert score_labels(p, two, "probs").status.tolist() == [sc.PROBABILITY_OUT_OF_RANGE, sc.SCORED]
    assert score_labels(p, two, "probs", hidden).status.tolist() == [sc.SCORED, sc.SCORED]
    p[0, 1] = NAN
    assert score_labels(p, two, "probs", hidden).brier.tolist() == [0.25, 0.25]


def test_labels_and_torch() -> None:
    torch = pytest.importorskip("torch")
    z = sample("logits", "float64", 40 * 64).reshape(40, 64)
    y = labels(40 * 64).reshape(40, 64).astype("f8")
    w = np.linspace(0.5, 4.0, 64)
    want = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(z), torch.from_numpy(y), pos_weight=torch.from_numpy(w)
    )
    assert math.isclose(score_labels(z, y, pos_weight=w).loss.mean(), float(want), rel_tol=1e-13)


# --- peers -----------------------------------------------------------------------------------------------------------


def test_scikit_learn() -> None:
    p, y = sample("probs", "float64", 500), labels(500)
    assert math.isclose(score(p, y, "probs").loss.mean(), log_loss(y, p), rel_tol=1e-14)


@pytest.mark.parametrize("w", [None, 0.4, 5.0])
@pytest.mark.parametrize("soft", [False, True])
def test_torch(w: float | None, soft: bool) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    z = sample("logits", "float64", 500)
    y = np.random.default_rng(8).random(500) if soft else labels(500).astype("f8")
    weight = None if w is None else torch.tensor([w], dtype=torch.float64)
    want = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(z), torch.from_numpy(y), pos_weight=weight, reduction="none"
    ).numpy()
    got = score(z, y, pos_weight=NONE if w is None else np.array([w])).loss
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    if w is None:
        p = expit(z)
        want = functional.binary_cross_entropy(torch.from_numpy(p), torch.from_numpy(y), reduction="none").numpy()
        np.testing.assert_allclose(score(p, y, "probs").loss, want, rtol=1e-12)


def test_sizes_are_known_for_every_kind() -> None:
    assert set(SIZE) == set(INTEGERS) | set(KINDS)
