"""A plugin of pytest: puts fastxent's functions into the place of scikit-learn's before its tests are imported."""

from __future__ import annotations

import sklearn.metrics

import fastxent.sklearn


def pytest_configure(config):
    import sklearn.metrics._scorer as scorers

    for name in fastxent.sklearn.__all__:
        ours, theirs = getattr(fastxent.sklearn, name), getattr(sklearn.metrics, name)
        assert ours is not theirs
        setattr(sklearn.metrics, name, ours)
        for scorer in scorers._SCORERS.values():
            if scorer._score_func is theirs:
                scorer._score_func = ours
