"""Statistics of the losses, against SciPy, scikit-learn and statsmodels."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import d2_log_loss_score

import fastxent as fx
from fastxent.statistics import clusters as clustering
from fastxent.statistics.hashing import hash_values
from fastxent.statistics.intervals import effective_rows, wilson
from tests.statdata import BREAST, DIGITS, breast, column, digits, evaluated, table, weights


def independent_rows(*numbers):
    return float(effective_rows(*(np.array([float(number)]) for number in numbers))[0])


@pytest.mark.parametrize("name", ["digits", "breast"])
def test_spread_agrees_with_scipy(name):
    losses = (digits if name == "digits" else breast)()[2]
    found = evaluated(name).loss_stats
    assert found.mean == pytest.approx(losses.mean(), rel=1e-12)
    assert found.sum == pytest.approx(losses.sum(), rel=1e-12)
    assert found.variance == pytest.approx(losses.var(ddof=1), rel=1e-11)
    assert found.std == pytest.approx(losses.std(ddof=1), rel=1e-11)
    assert found.stderr == pytest.approx(scipy_stats.sem(losses), rel=1e-11)
    low, high = scipy_stats.t.interval(0.95, len(losses) - 1, losses.mean(), scipy_stats.sem(losses))
    assert found.ci95 == pytest.approx((low, high), rel=1e-10)
    assert (found.min, found.max) == pytest.approx((losses.min(), losses.max()), rel=1e-12)


def test_quantiles_are_inside_their_bins():
    losses = np.sort(digits()[2])
    found = evaluated("digits")
    for q in (0.0, 0.001, 0.1, 0.5, 0.77, 0.999, 1.0):
        exact = losses[max(1, math.ceil(q * len(losses))) - 1]
        quantile = found.quantile(q)
        assert quantile.low * (1 - 1e-7) <= exact <= quantile.high * (1 + 1e-7)  # the plain form is that bad
        assert quantile.value == pytest.approx(exact, rel=2**-7)


@pytest.mark.parametrize("per_octave", [1, 8, 128])
def test_histogram_counts_every_row_in_its_bin(per_octave):
    losses = digits()[2]
    bins = evaluated("digits").loss_histogram(per_octave).to_pylist()
    assert sum(row["count"] for row in bins) == len(losses)
    for row in bins:
        assert row["count"] == ((losses >= row["low"]) & (losses < row["high"])).sum()


def test_clustered_error_agrees_with_statsmodels():
    import statsmodels.api as sm

    for weighted in (False, True):
        for name in ("fold", "radius"):
            ids = np.unique(column(BREAST, name), return_inverse=True)[1]
            y = breast()[2]
            w = weights(len(y)) if weighted else np.ones(len(y))
            model = sm.WLS(y, np.ones(len(y)), weights=w).fit(cov_type="cluster", cov_kwds={"groups": ids})
            found = evaluated("breast", weighted, cluster_by=name).loss_stats
            assert found.clusters == clustering.ClusterStats(name, len(np.unique(ids)), True)
            assert found.stderr == pytest.approx(float(model.bse[0]), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_interval_of_accuracy_respects_clusters(weighted):
    import statsmodels.api as sm
    from statsmodels.stats.proportion import proportion_confint

    y, p, _ = digits()
    w = weights(len(y)) if weighted else np.ones(len(y))
    ids = np.arange(len(y)) // 9
    by_rank = (np.sort(p, axis=1)[:, ::-1] > p[np.arange(len(y)), y][:, None]).sum(axis=1)
    options = {"group_by": "doc", "cluster_by": "doc"}
    data = table(DIGITS).append_column("doc", [ids]).append_column("w", [w])
    found = fx.evaluate(data, logits="logits", target="label", weight="w" if weighted else None, **options)
    n = w.sum() ** 2 / (w**2).sum()
    for k in (1, 3):
        hit = (by_rank < k) * 1.0
        share = np.average(hit, weights=w)
        error = float(sm.WLS(hit, np.ones(len(y)), weights=w).fit(cov_type="cluster", cov_kwds={"groups": ids}).bse[0])
        t, few = (scipy_stats.t.ppf(0.975, count - 1) for count in (n, ids[-1] + 1))
        rows = min(n, n * share * (1 - share) / (n - 1) / error**2 * (t / few) ** 2)
        expected = proportion_confint(share * rows, rows, alpha=0.05, method="wilson")
        assert found.top_k_interval(k) == pytest.approx(expected, rel=1e-9)
        assert found.to_dict()["accuracy"]["ci95"][f"top{k}"] == list(found.top_k_interval(k))
    assert found.top_k_interval(1)[0] < found.interval(found.accuracy)[0]  # these clusters do widen it
    assert found.top_k_interval(10) == wilson(1.0, min(n, ids[-1] + 1))
    assert all(math.isnan(row["accuracy_low"]) for row in found.groups.to_pylist())  # one cluster alone says nothing


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("rows", "clusters"), [(2, None), (3, None), (10, None), (12, 2), (15, 5)])
def test_intervals_of_means_cover_what_they_say(rows, clusters, weighted):
    """Losses about normal, within clusters alike: 95 % of the intervals hold their mean, up to four standard errors."""
    rng = np.random.default_rng(rows)
    samples = 4000
    loss = 3.0 + 0.1 * rng.standard_normal((samples, rows))
    cluster = np.arange(samples * rows).reshape(samples, rows)
    if clusters:
        loss += 0.2 * np.repeat(rng.standard_normal((samples, clusters)), rows // clusters, axis=1)
        cluster = np.repeat(np.arange(samples * clusters).reshape(samples, clusters), rows // clusters, axis=1)
    ev = fx.evaluate(
        log_probs=np.stack([-loss.ravel(), np.log(-np.expm1(-loss.ravel()))], axis=1),
        target=np.zeros(samples * rows, np.int64),
        weight=np.full(samples * rows, 0.7) if weighted else None,
        group_by=np.repeat(np.arange(samples), rows),
        cluster_by=cluster.ravel() if clusters else None,
    )
    table = ev.groups
    held = (table["ci_low"].to_numpy() <= 3.0) & (3.0 <= table["ci_high"].to_numpy())
    assert held.mean() == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / samples))


def test_the_interval_of_a_loss_does_not_begin_below_0():
    ev = fx.evaluate(probs=np.array([[0.999, 0.001], [0.9, 0.1], [0.1, 0.9]]), target=np.array([0, 0, 0]))
    assert ev.loss_stats.ci95[0] == 0.0
    ev = fx.evaluate(
        probs=np.array([[0.999, 0.001], [0.9, 0.1], [0.1, 0.9]]), target=np.array([0, 0, 0]), units=np.array([1, 1, 2])
    )
    assert ev.units.ci95[0] == 0.0


def test_rows_that_a_share_is_worth():
    assert math.isnan(independent_rows(0.5, math.nan, 10, 3))
    assert independent_rows(1.0, 0.0, 10, 3) == 3.0
    assert independent_rows(0.5, 0.0, 10, 3) == 10
    assert independent_rows(0.5, 1e-9, 10, 3) == 10
    few = (scipy_stats.t.ppf(0.975, 9) / scipy_stats.t.ppf(0.975, 2)) ** 2
    assert independent_rows(0.5, 0.25, 10, 3) == pytest.approx(10 * 0.25 / 9 / 0.0625 * few)


def test_clusters_of_single_rows_give_the_plain_error():
    data = table(BREAST).append_column("row", [np.arange(569)])
    found = fx.evaluate(data, logits="logit", target="label", task="binary", cluster_by="row")
    assert found.loss_stats.stderr == pytest.approx(evaluated("breast").loss_stats.stderr, rel=1e-9)
    assert found.top_k_interval() == pytest.approx(found.interval(found.accuracy), rel=1e-9)


def test_too_many_clusters_share_buckets(monkeypatch):
    monkeypatch.setattr(clustering, "MAX_CLUSTERS", 50)
    monkeypatch.setattr(clustering, "BUCKETS", 16)
    data = table(BREAST).append_column("doc", [pa.array([f"d{i // 3}" for i in range(569)])])
    whole = fx.evaluate(data, logits="logit", target="label", task="binary", cluster_by="doc")
    found = whole.loss_stats.clusters
    assert (found.count, found.exact) == (16, False)
    assert whole.loss_stats.stderr == pytest.approx(evaluated("breast").loss_stats.stderr, rel=0.5)


def test_hashes_do_not_depend_on_how_ids_are_stored():
    text = pa.array(["a", "b", None, "a", "", "émile"])
    plain = hash_values(text, "c")
    for other in (text.cast(pa.large_string()), text.dictionary_encode(), pa.chunked_array([text[:2], text[2:]])):
        assert hash_values(other, "c").tolist() == plain.tolist()
    assert hash_values(text.slice(1, 3), "c").tolist() == plain[1:4].tolist()
    numbers = pa.array([1, 2, 1, None])
    assert hash_values(numbers, "c")[0] == hash_values(numbers.cast(pa.int8()), "c")[2]
    with pytest.raises(fx.UsageError, match=r"cluster_by: column 'c' is double"):
        hash_values(pa.array([1.5]), "c")


def test_loss_per_unit():
    data = table(BREAST).append_column("bytes", [np.arange(569) % 7 + 1])
    total = (np.arange(569) % 7 + 1).sum()
    found = fx.evaluate(data, logits="logit", target="label", task="binary", units="bytes").units
    assert found.sum == total
    assert found.loss == pytest.approx(breast()[2].sum() / total, rel=1e-12)
    assert found.bits == pytest.approx(found.loss / math.log(2), rel=1e-15)
    assert found.perplexity == pytest.approx(math.exp(found.loss), rel=1e-15)
    low, high = found.ci95
    assert (high - low) / 2 == pytest.approx(scipy_stats.t.ppf(0.975, 568) * found.stderr, rel=1e-11)
    assert found.bits_ci95 == pytest.approx((low / math.log(2), high / math.log(2)), rel=1e-15)
    bad = table(BREAST).append_column("bytes", [pa.array([1] * 568 + [None])])
    with pytest.raises(fx.DataError, match=r"row 568 .* column 'bytes' \(units\) is nan"):
        fx.evaluate(bad, logits="logit", target="label", task="binary", units="bytes")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
def test_error_of_the_loss_per_unit_is_that_of_a_ratio(weighted, clustered):
    """Against the formula in rational arithmetic, and statsmodels: a weighted regression on a constant is a ratio."""
    from statsmodels.api import WLS

    y, _, losses = digits()
    n = len(y)
    units = np.arange(n) % 50 * 1000.25 + 1
    doc = np.arange(n) // 7
    data = table(DIGITS).append_column("bytes", [units]).append_column("doc", [doc]).append_column("w", [weights(n)])
    options = ({"weight": "w"} if weighted else {}) | ({"cluster_by": "doc"} if clustered else {})
    found = fx.evaluate(data, logits="logits", target="label", units="bytes", **options).units
    w = weights(n) if weighted else np.ones(n)
    top, below = ([Fraction(value) * Fraction(v) for value, v in zip(x, w, strict=True)] for x in (losses, units))
    ratio = sum(top) / sum(below)
    assert found.loss == pytest.approx(float(ratio), rel=1e-12)
    rests = [a - ratio * b for a, b in zip(top, below, strict=True)]
    if clustered:
        rests = [sum(rests[i : i + 7]) for i in range(0, n, 7)]
    spread = Fraction(len(rests), len(rests) - 1) * sum(r * r for r in rests) / sum(below) ** 2
    assert found.stderr == pytest.approx(math.sqrt(spread), rel=1e-10)
    fit = WLS(losses / units, np.ones(n), weights=w * units)
    kind = {"cov_type": "cluster", "cov_kwds": {"groups": doc}} if clustered else {"cov_type": "HC1"}
    assert found.stderr == pytest.approx(fit.fit(**kind).bse[0], rel=1e-9)


def test_loss_in_proportion_to_the_units_has_no_error():
    z = np.full((64, 2), [[0.0, 1.0]]) * np.ones((64, 1))
    same = fx.evaluate(logits=z, target=np.zeros(64, int), units=np.full(64, 0.1)).units
    assert same.stderr == 0.0
    single = fx.evaluate(logits=z[:1], target=[0], units=[3]).units
    assert math.isnan(single.stderr)
    endless = fx.evaluate(probs=[[0.0, 1.0], [0.5, 0.5]], target=[0, 0], units=[1, 2]).units
    assert endless.loss == math.inf
    assert math.isnan(endless.stderr)


@pytest.mark.parametrize("weighted", [False, True])
def test_d2_agrees_with_scikit_learn(weighted):
    y, p, _ = digits()
    w = weights(len(y)) if weighted else None
    found = evaluated("digits", weighted)
    assert found.d2 == pytest.approx(d2_log_loss_score(y, p, sample_weight=w), rel=1e-9)
    assert found.normalized_entropy == pytest.approx(1.0 - found.d2, rel=1e-12)
    y, p, _ = breast()
    w = weights(len(y)) if weighted else None
    assert evaluated("breast", weighted).d2 == pytest.approx(d2_log_loss_score(y, p, sample_weight=w), rel=1e-7)


def test_wilson_agrees_with_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    for hits, n in ((0, 5), (5, 5), (3, 7), (955, 1000), (1, 10**9)):
        assert wilson(hits / n, n) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-12)
    found = evaluated("digits")
    assert found.interval(found.accuracy) == pytest.approx(
        proportion_confint(round(found.accuracy * 1797), 1797, method="wilson"), abs=1e-12
    )


def test_temperature_is_the_loss_of_divided_logits():
    z = column(DIGITS, "logits").astype(np.float64)
    found = evaluated("digits", statistics=("temperature",)).temperature
    assert found.table.column("temperature").to_pylist() == [2.0 ** (k / 4) for k in range(-8, 9)]
    y = digits()[0]
    for row in found.table.to_pylist()[::4]:
        s = z / row["temperature"]
        losses = np.logaddexp.reduce(s, axis=1) - s[np.arange(len(y)), y]
        assert row["loss"] == pytest.approx(losses.mean(), rel=1e-11)
    assert found.loss == min(found.table.column("loss").to_pylist())
    assert found.gain == evaluated("digits").loss - found.loss


@pytest.mark.parametrize("weighted", [False, True])
def test_entropy_of_the_predictions(weighted):
    _, p, _ = digits()
    w = weights(len(p)) if weighted else None
    found = evaluated("digits", weighted, statistics="entropy")
    assert found.entropy == pytest.approx(np.average(scipy_stats.entropy(p, axis=1), weights=w), rel=1e-11)
    assert found.loss == evaluated("digits", weighted).loss
    assert evaluated("digits").entropy is None
