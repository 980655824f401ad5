"""Student's t and McNemar's test against SciPy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastxent.comparison.significance import EXACT_UP_TO, mcnemar_p
from fastxent.statistics.students_t import NORMAL_FROM, half_widths, t_quantile, t_two_sided

DEGREES = [1, 2, 3, 4, 10, 29.5, 100, 1796, 50_000, 999_999, NORMAL_FROM, 1e9]


@pytest.mark.parametrize("df", DEGREES)
def test_t_against_scipy(df: float) -> None:
    for t in [0.0, 1e-9, 0.01, 0.5, 1.0, 1.96, 3.0, 8.0, 30.0]:
        tolerance = 2e-9 if df < NORMAL_FROM else 2e-3  # the normal's far tail is a little lighter
        assert t_two_sided(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=tolerance, abs=1e-100)
        assert t_two_sided(-t, df) == t_two_sided(t, df)
    for confidence in (0.5, 0.9, 0.95, 0.999):
        assert t_quantile(confidence, df) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, df), rel=3e-6)


def test_half_widths_against_scipy() -> None:
    df = np.concatenate([np.arange(1, 400), [99.5, 100.5, 1e3, 1e5, 1e7, 1e15]])
    assert half_widths(df) == pytest.approx(stats.t.ppf(0.975, df), rel=5e-11)
    assert np.isnan(half_widths(np.array([0, -1, np.nan]))).all()


def test_t_at_the_edges() -> None:
    assert np.isnan(t_two_sided(np.nan, 5))
    assert np.isnan(t_two_sided(1.0, 0))
    assert np.isnan(t_quantile(0.95, 0))
    assert t_two_sided(np.inf, 5) == 0.0


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (1, 1), (5, 0), (12, 30), (30, 12), (700, 640), (5100, 4900)])
def test_mcnemar_exact(b: int, c: int) -> None:
    p, method = mcnemar_p(b, c)
    assert method == "exact"
    assert p == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1.0, rel=1e-9)


def test_mcnemar_of_many() -> None:
    b, c = EXACT_UP_TO // 2 + 100, EXACT_UP_TO // 2 - 99
    p, method = mcnemar_p(b, c)
    assert method == "chi-square"
    assert p == pytest.approx(stats.binomtest(b, b + c).pvalue, rel=1e-2)
