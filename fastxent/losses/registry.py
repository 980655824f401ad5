"""All losses by name: every module of this folder that holds a ``LOSS``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

import fastxent.losses
from fastxent.base.option import Option
from fastxent.losses.base import Loss

__all__ = ["LOSSES", "OPTIONS"]


def _losses() -> Iterator[Loss]:
    for module in iter_modules(fastxent.losses.__path__):
        if module.name not in ("base", "ready", "registry"):
            yield import_module(f"fastxent.losses.{module.name}").LOSS


#: Name -> loss, the default first and the others by name.
LOSSES = MappingProxyType({loss.name: loss for loss in _losses()})
#: Keyword -> the option of one loss, or of several that mean the same.
OPTIONS: MappingProxyType[str, Option] = MappingProxyType(
    {option.name: option for loss in LOSSES.values() for option in loss.options}
)
