"""What every test run does once."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

# How long examples take to be made says how busy the machine is.
settings.register_profile("fastxent", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastxent")


def pytest_collection_finish() -> None:
    """Leave what collecting has made, half a million objects that stay, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()
