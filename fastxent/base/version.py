"""The version of the package, as its installation says it."""

from __future__ import annotations

from functools import cache

__all__ = ["package_version"]


@cache
def package_version() -> str:
    """Return the version; reading it from the installation takes 2 ms, once."""
    from importlib.metadata import version

    return version("fastxent")
