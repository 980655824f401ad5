"""Accuracy, Brier score, calibration and classes, against scikit-learn, torchmetrics and exact twins."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

import fastxent as fx
from fastxent.kernels.sums import tally
from fastxent.statistics import binnings, calibration_cells
from tests.statdata import BREAST, DIGITS, breast, column, digits, evaluated, table, weights

WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


def weight_of(rows, weighted):
    return weights(rows) if weighted else None


@WEIGHTED
def test_top_k_and_mrr(weighted):
    y, p, _ = digits()
    w = weight_of(len(y), weighted)
    found = evaluated("digits", weighted, top_k=(2, 3, 9))
    for k, value in found.top_k.items():
        assert value == pytest.approx(metrics.top_k_accuracy_score(y, p, k=k, sample_weight=w), rel=1e-12)
    rank = (p > p[np.arange(len(y)), y][:, None]).sum(axis=1)
    assert found.mrr == pytest.approx(np.average(1.0 / (1.0 + rank), weights=w), rel=1e-12)
    assert set(evaluated("digits").top_k) == {1, 3, 5}


@WEIGHTED
def test_classes_agree_with_scikit_learn(weighted):
    for name, (y, p, losses) in (("digits", digits()), ("breast", breast())):
        predicted = p.argmax(axis=1) if p.ndim == 2 else (p > 0.5).astype(int)
        w = weight_of(len(y), weighted)
        found = evaluated(name, weighted)
        assert found.accuracy == pytest.approx(metrics.accuracy_score(y, predicted, sample_weight=w), rel=1e-12)
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(y, predicted, sample_weight=w)
        per_class = found.per_class
        for column_name, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
            assert per_class[column_name].to_pylist() == pytest.approx(expected.tolist(), rel=1e-12)
        assert per_class["support"].to_pylist() == np.bincount(y).tolist()
        sure = p.max(axis=1) if p.ndim == 2 else np.maximum(p, 1 - p)
        for c, row in enumerate(per_class.to_pylist()):
            here, claimed = y == c, predicted == c
            ones = np.ones(len(y)) if w is None else w
            assert row["loss"] == pytest.approx(np.average(losses[here], weights=ones[here]), rel=1e-10)
            assert row["confidence"] == pytest.approx(np.average(sure[claimed], weights=ones[claimed]), rel=1e-11)
            assert row["gap"] == pytest.approx(row["confidence"] - row["precision"], abs=1e-15)
        matrix = metrics.confusion_matrix(y, predicted)
        assert (found.confusion == matrix).all()
        first = found.confused.to_pylist()[0]
        np.fill_diagonal(matrix, 0)
        assert first["count"] == matrix.max() == matrix[int(first["target"]), int(first["predicted"])]


@WEIGHTED
def test_brier_agrees_with_scikit_learn(weighted):
    y, p, _ = digits()
    w = weight_of(len(y), weighted)
    found = evaluated("digits", weighted)
    expected = metrics.brier_score_loss(y, p, sample_weight=w, labels=range(10), scale_by_half=False)
    assert found.brier == pytest.approx(expected, rel=1e-11)
    assert found.brier_scaled == pytest.approx(expected / 2, rel=1e-11)
    assert found.brier_parts is None
    y, p, _ = breast()
    expected = metrics.brier_score_loss(y, p, sample_weight=weight_of(len(y), weighted))
    found = evaluated("breast", weighted)
    assert found.brier == found.brier_scaled == pytest.approx(expected, rel=1e-11)


@WEIGHTED
@pytest.mark.parametrize("bins", [None, 10])
def test_every_class_against_the_rest(weighted, bins):
    """Against scikit-learn and a plain program; Murphy's identity holds, class by class and of all classes."""
    y, p, _ = digits()
    w = weights(len(y)) if weighted else np.ones(len(y))
    found = evaluated("digits", weighted, statistics="classwise", bins=bins)
    rows = found.classwise.to_pylist()
    n = bins or 15
    for c, row in enumerate(rows):
        hit = (y == c).astype(float)
        assert row["class"] == str(c)
        assert row["share"] == pytest.approx(np.average(hit, weights=w), rel=1e-12)
        assert row["brier"] == pytest.approx(metrics.brier_score_loss(hit, p[:, c], sample_weight=w), rel=1e-10)
        number = np.minimum((p[:, c] * n).astype(int), n - 1)
        mass = np.bincount(number, w, n) / w.sum()
        used = mass > 0
        gaps = np.bincount(number, w * (p[:, c] - hit), n) / w.sum()
        assert row["ece"] == pytest.approx(np.abs(gaps).sum(), rel=1e-9)
        assert row["reliability"] == pytest.approx((gaps[used] ** 2 / mass[used]).sum(), rel=1e-8)
        means = np.bincount(number, w * hit, n)[used] / w.sum() / mass[used]
        assert row["resolution"] == pytest.approx((mass[used] * (means - row["share"]) ** 2).sum(), rel=1e-9)
        assert row["uncertainty"] == pytest.approx(row["share"] * (1 - row["share"]), rel=1e-12)
        whole = row["reliability"] - row["resolution"] + row["uncertainty"] + row["residual"]
        assert whole == pytest.approx(row["brier"], abs=1e-15)
    parts = found.brier_parts
    whole = parts.reliability - parts.resolution + parts.uncertainty + parts.residual
    assert whole == pytest.approx(found.brier, rel=1e-12)
    assert whole / 2 == pytest.approx(found.brier_scaled, rel=1e-12)
    assert abs(parts.residual) < 0.05 * parts.resolution
    assert found.classwise_ece == pytest.approx(np.mean([row["ece"] for row in rows]), rel=1e-12)
    json = found.to_dict()
    assert json["classwise"] == rows
    assert json["brier_parts"]["resolution"] == parts.resolution


def test_forecasts_that_bins_hold_exactly_leave_no_residual():
    p = np.array([[0.25, 0.75], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])
    parts = fx.evaluate(probs=p, target=[0, 1, 1, 1], statistics="classwise").brier_parts
    assert (parts.reliability, parts.resolution, parts.uncertainty) == (0.375 / 2 + 0.125, 0.125, 0.375)
    assert parts.residual == pytest.approx(0.0, abs=1e-17)


@pytest.mark.parametrize("form", ["probs", "log_probs", "bfloat16"])
def test_classes_of_every_form(form):
    y, p, _ = digits()
    if form == "bfloat16":
        z = column(DIGITS, "logits").astype(np.float32)
        half = (z.view(np.uint32) >> 16).astype(np.uint16)
        found = fx.evaluate(logits=half, target=y, dtype="bfloat16", statistics="classwise")
        e = np.exp((half.astype(np.uint32) << 16).view(np.float32).astype(float))
        p = e / e.sum(axis=1, keepdims=True)
    else:
        scores = p * 0.5 if form == "probs" else np.log(p * 0.5)
        found = fx.evaluate(target=y, statistics="classwise", normalize=True, **{form: scores})
    for c, brier in enumerate(found.classwise["brier"].to_pylist()):
        assert brier == pytest.approx(metrics.brier_score_loss(y == c, p[:, c]), rel=1e-10)


def test_classes_against_the_rest_that_cannot_be():
    z = np.zeros((2, 3))
    for options in ({"target": np.eye(3)[:2]}, {"target": np.ones((2, 3)), "task": "multilabel"}):
        with pytest.raises(fx.UsageError, match="'classwise' applies to task 'multiclass' with labels"):
            fx.evaluate(logits=z, statistics="classwise", **options)
    with pytest.raises(fx.UsageError, match="'classwise' applies up to 10,000 classes, and there are 10,001"):
        fx.evaluate(logits=np.zeros((1, 10_001), np.float32), target=[0], statistics="classwise")


def test_brier_of_labels_is_the_mean_of_theirs():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, (40, 3)), rng.random((40, 3))
    found = fx.evaluate(probs=p, target=y, task="multilabel")
    want = np.mean([metrics.brier_score_loss(y[:, i], p[:, i]) for i in range(3)])
    assert found.brier == pytest.approx(want, rel=1e-12)
    assert found.brier_scaled == found.brier  # it lies on [0, 1] already


@WEIGHTED
def test_confusion_agrees_with_scikit_learn(weighted):
    y, p, _ = digits()
    w = weights(len(y))
    guess = p.argmax(axis=1)
    found = evaluated("digits", weighted)
    assert found.confusion.tolist() == metrics.confusion_matrix(y, guess).tolist() == found.to_dict()["confusion"]
    if not weighted:
        assert found.weighted_confusion is None
        return
    want = metrics.confusion_matrix(y, guess, sample_weight=w)
    assert found.weighted_confusion.tolist() == want.tolist() == found.to_dict()["weighted_confusion"]
    for row in found.confused.to_pylist():
        assert row["weight"] == want[int(row["target"]), int(row["predicted"])]
    many = fx.evaluate(logits=np.zeros((4, 1001), np.float32), target=[0, 1, 1, 0], weight=np.ones(4))
    assert many.weighted_confusion is None
    assert many.confused.column_names == ["target", "predicted", "count"]


@WEIGHTED
def test_brier_parts_are_murphys(weighted):
    y, p, _ = breast()
    w = weights(len(y)) if weighted else np.ones(len(y))
    parts = evaluated("breast", weighted).brier_parts
    bins = np.minimum((p * 15).astype(int), 14)
    base = np.average(y, weights=w)
    reliability = resolution = 0.0
    for b in np.unique(bins[w > 0]):
        here = bins == b
        share, rate = w[here].sum() / w.sum(), np.average(y[here], weights=w[here])
        reliability += share * (np.average(p[here], weights=w[here]) - rate) ** 2
        resolution += share * (rate - base) ** 2
    assert parts.reliability == pytest.approx(reliability, rel=1e-9)
    assert parts.resolution == pytest.approx(resolution, rel=1e-11)
    assert parts.uncertainty == pytest.approx(base * (1 - base), rel=1e-12)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.residual
    assert total == pytest.approx(evaluated("breast", weighted).brier, rel=1e-12)


def naive(p, hit, bins, w):
    """Calibration errors over [a, b) bins, the last one closed."""
    number = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [(w[number == b].sum(), (w * (p - hit))[number == b].sum()) for b in range(bins)]
    gaps = [(n, abs(gap) / n) for n, gap in gaps if n]
    total = sum(n for n, _ in gaps)
    squares = sum(n * g * g for n, g in gaps) / total
    return sum(n * g for n, g in gaps) / total, max(g for _, g in gaps), squares, np.mean([g for _, g in gaps])


@WEIGHTED
@pytest.mark.parametrize("bins", [1, 10, 15, 100])
def test_calibration_agrees_with_a_plain_program(bins, weighted):
    y, p, _ = digits()
    w = weights(len(y)) if weighted else np.ones(len(y))
    found = evaluated("digits", weighted).calibrate(bins)
    expected = naive(p.max(axis=1), p.argmax(axis=1) == y, bins, w)
    assert (found.ece, found.mce, found.rmsce**2, found.ace) == pytest.approx(expected, rel=1e-9)
    y, p, _ = breast()
    w = weights(len(y)) if weighted else np.ones(len(y))
    found = evaluated("breast", weighted).calibrate(bins, "netcal")
    assert (found.ece, found.mce, found.rmsce**2, found.ace) == pytest.approx(naive(p, y, bins, w), rel=1e-9)
    assert sum(found.table["count"].to_pylist()) == len(y)


def test_calibration_agrees_with_torchmetrics():
    pytest.importorskip("torchmetrics")
    import torch
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    y, p, _ = digits()
    for bins in (10, 15):
        for norm, name in (("l1", "ece"), ("max", "mce"), ("l2", "rmsce")):
            theirs = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), 10, n_bins=bins, norm=norm)
            ours = getattr(evaluated("digits").calibrate(bins, "torchmetrics"), name)
            assert ours == pytest.approx(float(theirs), rel=1e-4)  # its sums are float32
    # Stored probabilities, some of which are exactly 1: they have a bin of their own there.
    p, y = column(BREAST, "prob"), column(BREAST, "label")
    assert (p == 1.0).any()
    ours = fx.evaluate(table(BREAST), probs="prob", target="label", task="binary")
    theirs = binary_calibration_error(torch.tensor(p), torch.tensor(y.astype(int)), n_bins=15, norm="l1")
    found = ours.calibrate(15, "torchmetrics")
    assert found.ece == pytest.approx(float(theirs), rel=1e-4)
    assert found.table.num_rows == 16
    assert found.table["count"].to_pylist()[-1] == (p == 1.0).sum()


@pytest.mark.parametrize("bins", [10, 15, 20])
def test_calibration_agrees_with_netcal(bins):
    theirs = pytest.importorskip("netcal.metrics")
    for name, (y, p, _) in (("digits", digits()), ("breast", breast())):
        found = evaluated(name).calibrate(bins, "netcal")
        for error in ("ece", "mce", "ace"):
            expected = getattr(theirs, error.upper())(bins).measure(p, y)
            assert getattr(found, error) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bins", [5, 10, 20])
def test_calibration_agrees_with_scikit_learn(bins):
    y, p, _ = breast()
    true, mean = calibration_curve(y, p, n_bins=bins)
    found = [row for row in evaluated("breast").calibrate(bins, "sklearn").table.to_pylist() if row["count"]]
    assert [row["accuracy"] for row in found] == pytest.approx(true.tolist(), rel=1e-12)
    assert [row["confidence"] for row in found] == pytest.approx(mean.tolist(), rel=1e-9)


def test_equal_mass_bins_are_about_equal():
    y, p, _ = breast()
    found = evaluated("breast").calibrate(10, "equal_mass").table.to_pylist()
    assert sum(row["count"] for row in found) == len(y)
    assert max(row["count"] for row in found) <= 2 * len(y) / 10
    for row in found:
        inside = (p >= row["low"]) & ((p < row["high"]) | (row["high"] == 1.0))
        assert row["count"] == inside.sum()


def beside_edge(x):
    """A float32, with the ones before and after it, as float64."""
    return [float(y) for y in (np.nextafter(x, np.float32(0)), x, np.nextafter(x, np.float32(1)))]


def cell_of(c):
    """The slow twin of `tally.calibration_cell`."""
    edges = [k / 3600 for k in range(3601)]
    if c in (0.0, 1.0):
        return 0 if c == 0.0 else tally.ONE
    k = int(np.searchsorted(edges, c, side="right")) - 1
    if c == edges[k]:
        return tally.FIRST_EDGE + 2 * (k - 1)
    for near in (k, k + 1):
        if 0 < near < 3600:
            beside = [*beside_edge(np.float32(edges[near])), *np.nextafter(edges[near], [0.0, 1.0])]
            if c in beside:
                return tally.ONE + 1 + 5 * (near - 1) + max(i for i, x in enumerate(beside) if x == c)
    if 0 < k < 3599:
        return tally.FIRST_EDGE + 2 * k - 1
    size = Fraction(c) if k == 0 else 1 - Fraction(c)
    exponent = max(-53, max(e for e in range(-1080, 0) if Fraction(2) ** e <= size))
    eighth = max(0, int((size / Fraction(2) ** exponent - 1) * 8))
    place = (exponent + 53) * 8 + eighth
    return 1 + place if k == 0 else tally.LAST_EDGE + tally.TAIL - place


def test_cells_are_exact_at_every_edge():
    edges = np.arange(3601) / 3600
    tried = [edges, *(np.nextafter(edges, x) for x in (0.0, 1.0)), *map(beside_edge, edges.astype(np.float32))]
    tried = np.concatenate([*tried, *(np.nextafter(x, y) for x in tried[1:3] for y in (0.0, 1.0))])
    tried = np.concatenate([tried, 10.0 ** -np.linspace(0, 300, 60), 1.0 - 10.0 ** -np.linspace(0.5, 16, 60)])
    tried = np.unique(tried[(tried >= 0.0) & (tried <= 1.0)])
    found = np.array([tally.calibration_cell(c) for c in tried])
    assert found.tolist() == [cell_of(c) for c in tried]
    base = np.array([tally.base_of(cell) for cell in found])
    assert (np.abs(tried - base) < 1 / 3600).all()
    words = calibration_cells.bases_of_cells()
    exact = sum(word[found].astype(np.float64) * 2.0 ** (-16 * i) for i, word in enumerate(words))
    assert (exact == base).all()


def test_numbers_of_cells_stand_in_their_order():
    alone, order = calibration_cells.cells_alone(), calibration_cells.order_of_cells()
    singles = np.unique(calibration_cells.lows_of_cells()[alone])
    cells = np.array([tally.calibration_cell(c) for c in singles])
    assert alone[cells].all()
    assert (calibration_cells.numbers_of_cells()[cells] == singles).all()
    assert (np.diff(order[cells]) > 0).all()


def test_bins_that_cannot_be():
    found = evaluated("digits")
    with pytest.raises(fx.UsageError, match="bins: expected a divisor of 3600, got 7"):
        found.calibrate(7)
    with pytest.raises(fx.UsageError, match="binning: expected one of 'equal_width'"):
        found.calibrate(10, "guo")
    with pytest.raises(fx.UsageError, match="top_k: expected numbers from 1 to 10, got 11"):
        _ = evaluated("digits", top_k=(11,)).top_k


VOTES = np.arange(11) / 10


def at_edges(kind):
    """Tenths and fifteenths, and the numbers one step beside them."""
    edges = np.unique(np.concatenate([VOTES, np.arange(16) / 15]).astype(kind))
    near = np.concatenate([edges, np.nextafter(edges, kind(0)), np.nextafter(edges, kind(1))])
    return np.unique(near[(near >= 0) & (near <= 1)])


def scores_of(p, form):
    """Binary scores whose probabilities are p, as far as they can be written."""
    with np.errstate(divide="ignore"):
        return {"probs": p, "log_probs": np.log(p), "logits": np.log(p) - np.log1p(-p)}[form]


@pytest.mark.parametrize("group_by", [None, np.zeros(1000, np.int64)])
@pytest.mark.parametrize("weight", [None, np.full(1000, 0.5)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("binning", ["equal_width", "equal_mass", "sklearn", "torchmetrics", "netcal"])
def test_the_bin_of_a_binary_row_does_not_depend_on_its_label(binning, kind, weight, group_by):
    p, y = np.full(1000, 0.2, kind), (np.arange(1000) < 200).astype(np.int64)
    ev = fx.evaluate(probs=p, target=y, task="binary", bins=10, binning=binning, weight=weight, group_by=group_by)
    for calibration in (ev.calibration, *([ev.group(0).calibration] if group_by is not None else [])):
        assert calibration.ece == pytest.approx(0.0, abs=1e-8)
        assert calibration.mce == pytest.approx(0.0, abs=1e-8)
        assert sum(row["count"] > 0 for row in calibration.table.to_pylist()) == 1
    assert ev.brier_parts.reliability == pytest.approx(0.0, abs=1e-12)
    assert ev.brier_parts.resolution == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("form", ["probs", "log_probs", "logits"])
@pytest.mark.parametrize("bins", [10, 15])
def test_votes_of_ten_trees_stand_in_the_same_bins_for_both_labels(form, bins):
    scores = scores_of(np.repeat(VOTES, 100), form)
    of_label = [
        fx.evaluate(**{form: scores}, target=np.full(len(scores), y), task="binary", bins=bins).calibration.bins
        for y in (0, 1)
    ]
    assert [row[:4] for row in of_label[0]] == [row[:4] for row in of_label[1]]


def test_calibration_of_votes():
    rng = np.random.default_rng(7)
    k = rng.integers(0, 11, 20_000)
    y = (rng.random(20_000) < VOTES[k]).astype(np.int64)
    true = sum(abs(y[k == v].mean() - VOTES[v]) * (k == v).mean() for v in range(10))
    true += abs(y[k == 10].mean() - 1.0) * (k == 10).mean()
    ev = fx.evaluate(probs=VOTES[k], target=y, task="binary", bins=20)
    assert ev.calibration.ece == pytest.approx(true, rel=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [5, 10, 15])
def test_sklearn_bins_at_edges_and_beside(kind, bins):
    rng = np.random.default_rng(bins)
    p = rng.choice(at_edges(kind), 4000)
    y = rng.integers(0, 2, len(p))
    share, mean = calibration_curve(y, p, n_bins=bins)
    ev = fx.evaluate(probs=p, target=y, task="binary", bins=bins, binning="sklearn")
    used = [row for row in ev.calibration.table.to_pylist() if row["count"]]
    assert [row["accuracy"] for row in used] == pytest.approx(share.tolist(), rel=1e-12)
    assert [row["confidence"] for row in used] == pytest.approx(mean.tolist(), rel=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [5, 10, 15, 20, 100])
def test_torchmetrics_bins_at_edges_and_beside(kind, bins):
    torch = pytest.importorskip("torch")
    error = pytest.importorskip("torchmetrics.functional.classification").binary_calibration_error
    rng = np.random.default_rng(bins)
    p = rng.choice(at_edges(kind), 4000)
    y = rng.integers(0, 2, len(p))
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.from_numpy(p).dtype).numpy()
    assert (binnings._torch_edges(bins, kind) == edges[1:].astype(np.float64)).all()
    ev = fx.evaluate(probs=p, target=y, task="binary", bins=bins, binning="torchmetrics")
    number = np.searchsorted(edges, p, side="right") - 1
    counts = np.bincount(number, minlength=bins + 1)
    table = ev.calibration.table.to_pylist()
    assert [row["count"] for row in table] == counts[: len(table)].tolist()
    for norm, mine in (("l1", "ece"), ("max", "mce")):
        true = float(error(torch.from_numpy(p), torch.from_numpy(y), n_bins=bins, norm=norm))
        assert getattr(ev.calibration, mine) == pytest.approx(true, rel=1e-4 if kind is np.float32 else 1e-9)
