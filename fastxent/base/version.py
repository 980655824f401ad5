"""The version of the package, as its installation says it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

__all__ = ["origin", "package_version"]


@cache
def package_version() -> str:
    """Return the version; reading it from the installation takes 2 ms, once."""
    from importlib.metadata import version

    return version("fastxent")


def origin() -> dict[str, str]:
    """When a result was made (UTC, to the second), and by which version."""
    return {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "version": package_version()}
