"""ROC AUC, average precision and thresholds against scikit-learn; the bounds must hold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics

import fastxent as fx
from fastxent.data.batch import Columns, Matrix
from fastxent.kernels.contract.scorecard import TARGET, WEIGHT, new_scorecard
from fastxent.statistics.options import Measures
from fastxent.statistics.record import RECORD_ROWS, Record
from fastxent.totals.totals import Totals
from tests.statdata import BREAST, breast, column, evaluated, table, weights


class Ranked:
    """The ranking of totals; ``counts`` are rows by cell and truth of the first label."""

    def __init__(self, totals):
        reading = totals.reading()
        self._ranking = reading.statistics["ranking"]
        self._areas = self._ranking.cells(reading).areas(reading.spec.num_classes)
        self.edges = self._ranking._edges()
        cells = reading.sums.cells("scores")
        self.counts = np.zeros((len(self.edges), 2), np.int64)
        first = cells.places < 2 * len(self.edges)
        self.counts.reshape(-1)[cells.places[first]] = cells.columns[first, 1]

    def read(self, label):
        return areas({name: values[label] for name, values in self._areas.items()})


def areas(numbers):
    """The two areas with their bounds."""
    return SimpleNamespace(
        **{
            name: SimpleNamespace(value=numbers[name], low=numbers[f"{name}_low"], high=numbers[f"{name}_high"])
            for name in ("auc", "average_precision")
        }
    )


def ranked(scores, y, *, form="logits", kind="float64", w=None, labels=1, columns=False, mask=None):
    """The ranking of scores, absorbed record by record without a job."""
    task = "binary" if labels == 1 else "multilabel"
    spec = fx.Spec.make(num_classes=labels, task=task, form=form, weighted=w is not None)
    totals = Totals(spec, Measures(spread=False, scores=False, statistics=("ranking",)))
    scores = np.asarray(scores).reshape(len(y), labels)
    predictions = Columns(tuple(np.ascontiguousarray(scores.T)), kind) if columns else Matrix(scores, kind)
    batch = SimpleNamespace(predictions=predictions, target=y, mask=mask)
    card = new_scorecard(RECORD_ROWS)
    for lo in range(0, len(y), RECORD_ROWS):
        n = min(RECORD_ROWS, len(y) - lo)
        if labels == 1:
            card.whole[TARGET, :n] = y[lo : lo + n]
        card.real[WEIGHT, :n] = 1.0 if w is None else w[lo : lo + n]
        totals.absorb(Record(card, n, lo, batch))
    return Ranked(totals)


def check(found, y, scores, w=None, close=0.0):
    auc = metrics.roc_auc_score(y, scores, sample_weight=w)
    precision = metrics.average_precision_score(y, scores, sample_weight=w)
    for area, expected in ((found.auc, auc), (found.average_precision, precision)):
        assert area.low - 1e-12 <= expected <= area.high + 1e-12
        assert abs(area.value - expected) <= close + 1e-12


@pytest.mark.parametrize("weighted", [False, True])
def test_real_predictions(weighted):
    y, p, _ = breast()
    found = evaluated("breast", weighted, statistics="ranking")
    w = weights(len(y)) if weighted else None
    check(areas(found.fields), y, p, w, close=2e-4)
    assert found.ranking.num_rows == 1


def test_stored_probabilities_keep_their_ties():
    p, y = column(BREAST, "prob"), column(BREAST, "label")
    found = fx.evaluate(table(BREAST), probs="prob", target="label", task="binary", statistics=["ranking"])
    check(areas(found.fields), y, p, close=2e-4)


def cases():
    rng = np.random.default_rng(3)
    for n in (2, 5, 400, 50_000):
        y = (rng.random(n) < 0.3).astype(np.uint8)
        y[:2] = 0, 1
        z = rng.normal(size=n) + y
        yield y, z, "logits"
        yield y, 1.0 / (1.0 + np.exp(-4.0 * z)), "probs"
        yield y, -np.logaddexp(0.0, -4.0 * z), "log_probs"
        yield y, np.round(z), "logits"


@pytest.mark.parametrize("weighted", [False, True])
def test_bounds_hold(weighted):
    rng = np.random.default_rng(4)
    for y, scores, form in cases():
        w = rng.random(len(y)) + 0.1 if weighted else None
        state = ranked(scores, y, form=form, w=w)
        check(state.read(0), y, scores, w, close=1e-3)
        assert state.read(0).auc.high - state.read(0).auc.low < 5e-3


def test_sixteen_bits_are_exact():
    rng = np.random.default_rng(5)
    y = (rng.random(3000) < 0.4).astype(np.uint8)
    z = (rng.normal(size=3000) + y).astype(np.float16)
    z[:4] = 0.0, -0.0, 6e-5, -6e-5
    found = ranked(z.view(np.uint16), y, kind="float16").read(0)
    check(found, y, z.astype(float))
    assert found.auc.low == found.auc.high
    assert found.average_precision.low == found.average_precision.high


def test_the_edges_of_floats():
    values = [0.0, -0.0, 5e-324, -5e-324, 1e-300, 2.0**-24, 1.0, 65535.0, 65536.0, 1e300, np.inf, -np.inf, -1e300, -1.0]
    scores = np.array(values * 2)
    y = np.arange(len(scores)) // len(values) % 2 ^ (np.arange(len(scores)) % 3 == 0)
    found = ranked(scores, y.astype(np.uint8)).read(0)
    finite = np.argsort(np.argsort(np.unique(scores)))[np.searchsorted(np.unique(scores), scores)]
    check(found, y, finite, close=1.0)
    p = np.array([0.0, 5e-324, 1e-20, 0.25, np.nextafter(0.5, 0), 0.5, np.nextafter(0.5, 1), 0.75, 1 - 2**-53, 1.0])
    cells = ranked(np.repeat(p, 2), np.tile([0, 1], len(p)).astype(np.uint8), form="probs")
    used = np.flatnonzero(cells.counts.any(axis=1))
    edges = cells.edges
    assert (np.diff(edges) >= 0).all()
    for cell in used:
        inside = (p >= edges[cell]) & (p < (edges[cell + 1] if cell + 1 < len(edges) else np.inf))
        assert cells.counts[cell, 0] == inside.sum()


def test_every_cell_begins_at_its_edge():
    for form, low in (("logits", -70000.0), ("probs", 0.0), ("log_probs", -700.0)):
        state = ranked([0.25], np.array([1], np.uint8), form=form)
        edges = state.edges
        chosen = edges[(edges >= low) & (edges <= (1.0 if form == "probs" else 7e4))][::997]
        chosen = chosen[chosen <= 0.0] if form == "log_probs" else chosen
        for shift, at in ((0, chosen), (-1, np.nextafter(chosen, -np.inf))):
            at = at[at >= 0.0] if form == "probs" else at
            state = ranked(at, np.ones(len(at), np.uint8), form=form)
            cells = np.repeat(np.arange(len(edges)), state.counts[:, 1])
            assert cells.tolist() == (np.searchsorted(edges, at, side="right") - 1).tolist(), (form, shift)


@pytest.mark.parametrize("columns", [False, True])
def test_labels_of_a_multilabel_task(columns):
    rng = np.random.default_rng(6)
    y = (rng.random((500, 12)) < 0.3).astype(np.int8)
    z = (rng.normal(size=(500, 12)) + y).astype(np.float32)
    mask = rng.random((500, 12)) < 0.8
    state = ranked(z, y, kind="float32", labels=12, columns=columns, mask=mask)
    for label in range(12):
        here = mask[:, label]
        check(state.read(label), y[here, label], z[here, label], close=2e-3)


def test_thresholds_count_exactly():
    y, _, _ = breast()
    z = column(BREAST, "logit").astype(float)
    found = evaluated("breast", statistics="ranking").thresholds().to_pylist()
    for row in found:
        said = z >= row["threshold"]
        assert row["predicted"] == pytest.approx(said.mean(), rel=1e-12)
        assert row["recall"] == pytest.approx(metrics.recall_score(y, said), rel=1e-12)
        if said.any():
            assert row["precision"] == pytest.approx(metrics.precision_score(y, said), rel=1e-12)
        assert row["fpr"] == pytest.approx(said[y == 0].mean(), rel=1e-12)
        assert row["f1"] == pytest.approx(metrics.f1_score(y, said), rel=1e-12)
    half = next(row for row in found if row["probability"] == 0.5)
    assert half["threshold"] == 5e-324
    predicted = evaluated("breast").confusion[:, 1].sum()
    assert half["predicted"] == predicted / len(y)


def test_one_class_alone_has_no_ranking():
    found = ranked([1.0, 2.0], np.array([1, 1], np.uint8)).read(0)
    assert np.isnan([found.auc.value, found.auc.low, found.average_precision.value]).all()
    with pytest.raises(fx.UsageError, match="'ranking' of several classes applies to labels as targets"):
        fx.evaluate(logits=np.eye(3), target=np.eye(3), statistics="ranking")
