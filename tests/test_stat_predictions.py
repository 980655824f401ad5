"""Accuracy, Brier score, calibration and classes, against scikit-learn, torchmetrics and exact twins."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

import fastxent as fx
from fastxent.kernels import tally
from fastxent.statistics import calibration as calibrating
from tests.statdata import BREAST, breast, column, digits, evaluated, table, weights

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
    return sum(n * g for n, g in gaps) / total, max(g for _, g in gaps), sum(n * g * g for n, g in gaps) / total


@WEIGHTED
@pytest.mark.parametrize("bins", [1, 10, 15, 100])
def test_calibration_agrees_with_a_plain_program(bins, weighted):
    y, p, _ = digits()
    w = weights(len(y)) if weighted else np.ones(len(y))
    found = evaluated("digits", weighted).calibrate(bins)
    ece, mce, mean_square = naive(p.max(axis=1), p.argmax(axis=1) == y, bins, w)
    assert (found.ece, found.mce, found.rmsce**2) == pytest.approx((ece, mce, mean_square), rel=1e-9)
    y, p, _ = breast()
    w = weights(len(y)) if weighted else np.ones(len(y))
    found = evaluated("breast", weighted).calibrate(bins, "netcal")
    assert (found.ece, found.mce, found.rmsce**2) == pytest.approx(naive(p, y, bins, w), rel=1e-9)
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


def cell_of(c):
    """The slow twin of `tally.calibration_cell`."""
    edges = [k / 3600 for k in range(3601)]
    if c in (0.0, 1.0):
        return 0 if c == 0.0 else tally.CELLS - 1
    k = int(np.searchsorted(edges, c, side="right")) - 1
    if c == edges[k]:
        return tally.FIRST_EDGE + 2 * (k - 1)
    if 0 < k < 3599:
        return tally.FIRST_EDGE + 2 * k - 1
    size = Fraction(c) if k == 0 else 1 - Fraction(c)
    exponent = max(-53, max(e for e in range(-1080, 0) if Fraction(2) ** e <= size))
    eighth = max(0, int((size / Fraction(2) ** exponent - 1) * 8))
    place = (exponent + 53) * 8 + eighth
    return 1 + place if k == 0 else tally.LAST_EDGE + tally.TAIL - place


def test_cells_are_exact_at_every_edge():
    edges = np.arange(3601) / 3600
    tried = np.concatenate([edges, np.nextafter(edges, 0.0), np.nextafter(edges, 1.0)])
    tried = np.concatenate([tried, 10.0 ** -np.linspace(0, 300, 60), 1.0 - 10.0 ** -np.linspace(0.5, 16, 60)])
    tried = np.unique(tried[(tried >= 0.0) & (tried <= 1.0)])
    found = np.array([tally.calibration_cell(c) for c in tried])
    assert found.tolist() == [cell_of(c) for c in tried]
    assert (np.diff(found) >= 0).all()
    base = np.array([tally.base_of(cell) for cell in found])
    k, _ = calibrating._places()
    assert (base == np.where(k[found] == 3600, 1.0, k[found] * (1 / 3600))).all()


def test_bins_that_cannot_be():
    found = evaluated("digits")
    with pytest.raises(fx.UsageError, match="bins: expected a divisor of 3600, got 7"):
        found.calibrate(7)
    with pytest.raises(fx.UsageError, match="binning: expected one of 'equal_width'"):
        found.calibrate(10, "guo")
    with pytest.raises(fx.UsageError, match="top_k: expected numbers from 1 to 10, got 11"):
        _ = evaluated("digits", top_k=(11,)).top_k
