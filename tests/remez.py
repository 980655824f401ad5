"""Make the coefficients of the kernels' elementary functions: ``python tests/remez.py`` prints them.

Weighted linear Remez exchange in 40 digits (Cody, Fraser and Hart 1968; Muller, "Elementary
Functions", 3rd edition, chapter 3): find the polynomial whose weighted error has equal extrema.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 40

LN2 = float(mp.log(2))
Real = Callable[[mp.mpf], mp.mpf]


def remez(target: Real, weight: Real, low: float, high: float, degree: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients c of the polynomial minimising max |weight * (target - p)| on [low, high], and that maximum."""
    a, b = mp.mpf(low), mp.mpf(high)
    count = degree + 2
    # Chebyshev nodes, a little off centre: the weight of exp vanishes at 0.
    nodes = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * (i + mp.mpf("0.3")) / count) for i in range(count)]
    grid = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * i / 1500) for i in range(1501)]
    values = [(x, weight(x), target(x)) for x in grid]
    for _ in range(12):
        rows = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for i, x in enumerate(nodes):
            w = weight(x)
            for k in range(degree + 1):
                rows[i, k] = w * x**k
            rows[i, degree + 1] = (-1) ** i
            right[i] = w * target(x)
        solution = mp.lu_solve(rows, right)
        coefficients = [solution[k] for k in range(degree + 1)]
        errors = [(x, w * (g - mp.polyval(coefficients[::-1], x))) for x, w, g in values]
        extrema = _extrema(errors, count)
        worst = max(abs(e) for _, e in extrema)
        least = min(abs(e) for _, e in extrema)
        nodes = [x for x, _ in extrema]
        if worst < least * mp.mpf("1.005"):
            break
    return coefficients, worst


def _extrema(errors: list[tuple[mp.mpf, mp.mpf]], count: int) -> list[tuple[mp.mpf, mp.mpf]]:
    """The largest error of each run of one sign; the outermost are dropped while there are too many."""
    runs: list[tuple[mp.mpf, mp.mpf]] = []
    for x, e in errors:
        if runs and (runs[-1][1] > 0) == (e > 0):
            if abs(e) > abs(runs[-1][1]):
                runs[-1] = (x, e)
        else:
            runs.append((x, e))
    while len(runs) > count:
        runs.pop(0 if abs(runs[0][1]) < abs(runs[-1][1]) else -1)
    return runs


def exp_coefficients(degree: int = 11, edge: float = LN2 / 2) -> tuple[list[float], float]:
    """c[2..degree] of e^r = 1 + r + c2 r^2 + ... on |r| <= edge, least relative error."""

    def tail(r: mp.mpf) -> mp.mpf:
        if abs(r) < mp.mpf("1e-8"):
            return mp.mpf(1) / 2 + r / 6 + r * r / 24
        return (mp.exp(r) - 1 - r) / (r * r)

    edge *= 1 + 1e-9
    coefficients, error = remez(tail, lambda r: r * r / mp.exp(r), -edge, edge, degree - 2)
    return [float(c) for c in coefficients], float(error)


def log_coefficients(degree: int = 6) -> tuple[list[float], float]:
    """c of log(1 + f) = 2 s + s^3 (c0 + c1 s^2 + ...), s = f / (2 + f), for 1 + f in [sqrt(1/2), sqrt(2)]."""

    def tail(z: mp.mpf) -> mp.mpf:
        if z < mp.mpf("1e-12"):
            return mp.mpf(2) / 3 + 2 * z / 5
        s = mp.sqrt(z)
        return (2 * mp.atanh(s) - 2 * s) / (s * z)

    edge = float(((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2) * (1 + 1e-9)
    # Relative error of the logarithm is s^3 |dR| / |2 s|.
    coefficients, error = remez(tail, lambda z: z / 2, 0.0, edge, degree)
    return [float(c) for c in coefficients], float(error)


def log1p_coefficients(degree: int = 4, edge: float = math.expm1(1 / 512) / 2) -> tuple[list[float], float]:
    """c[2..degree] of log(1 + m) = m + c2 m^2 + ... on |m| <= edge, least absolute error."""

    def tail(m: mp.mpf) -> mp.mpf:
        if abs(m) < mp.mpf("1e-8"):
            return -mp.mpf(1) / 2 + m / 3 - m * m / 4
        return (mp.log1p(m) - m) / (m * m)

    edge *= 1 + 1e-9
    coefficients, error = remez(tail, lambda m: m * m, -edge, edge, degree - 2)
    return [float(c) for c in coefficients], float(error)


if __name__ == "__main__":
    made = {
        "EXP": exp_coefficients(),
        "EXP of small r": exp_coefficients(4, 1 / 512),
        "LOG": log_coefficients(),
        "LOG of 1 and a small number": log1p_coefficients(),
    }
    for name, (coefficients, error) in made.items():
        print(f"# {name}: largest error {error:.2g}")
        print("\n".join(f'    float.fromhex("{c.hex()}"),' for c in coefficients))
