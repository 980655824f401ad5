"""Which keywords each public function has, of those that the folders below define.

``python -m tests.signatures --write`` writes the signatures and the ``Args:`` of the functions from these lists; the
shell makes its options of them. They are read without NumPy and Numba.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastxent.base.option import REQUIRED, Option, options_of
from fastxent.comparison.options import Pairing
from fastxent.data.options import LossOptions
from fastxent.engine.options import RowOutput, RunOptions
from fastxent.losses.registry import OPTIONS
from fastxent.sources.options import Inputs
from fastxent.statistics.options import Measures, Readings

__all__ = ["DEFINITIONS", "SIGNATURES", "Signature"]

#: The dataclasses that define keywords.
DEFINITIONS = (Inputs, LossOptions, Measures, Readings, RunOptions, RowOutput, Pairing)


@dataclass(frozen=True, slots=True)
class Signature:
    """The options of a public function: those that may be given by position, and those by keyword only."""

    positional: tuple[Option, ...]
    keywords: tuple[Option, ...]

    @property
    def options(self) -> tuple[Option, ...]:
        """All options."""
        return (*self.positional, *self.keywords)


class _Options(dict[str, Option]):
    """The options of some definitions, by name."""

    def __init__(self, *definitions: type) -> None:
        super().__init__()
        for definition in definitions:
            self |= {each.name: each for each in options_of(definition)}
            if definition is LossOptions:
                self |= OPTIONS

    def take(self, *names: str) -> tuple[Option, ...]:
        """Some of them, which are then gone from the rest."""
        return tuple(self.pop(name) for name in names)

    def say(self, **docs: str) -> None:
        """Say something else of some of them."""
        for name, doc in docs.items():
            self[name] = replace(self[name], doc=doc)


def _evaluate() -> Signature:
    options = _Options(Inputs, LossOptions, Measures, Readings, RunOptions)
    return Signature(options.take("data", "target"), tuple(options.values()))


def _score() -> Signature:
    options = _Options(Inputs, RowOutput, LossOptions, Measures, Readings, RunOptions)
    options["keep"] = _Options(RowOutput)["keep"]
    options["data"] = replace(options["data"], default=REQUIRED)
    options.say(
        on_invalid='"raise"; with "skip" and "propagate" invalid rows are written with their status.',
        filter="which rows of ``data`` are read, as for `fastxent.evaluate`; the others are not in the output.",
        on_error='"skip" leaves out what cannot be read, whole; it is not in the output but in the result\'s '
        "``left_out``. In a directory, files with something left out are done again by the next run.",
        base="unit of the losses, in the output and in the result: None for nats, 2 for bits, 10 for bans.",
    )
    return Signature(options.take("data", "out_path", "target"), tuple(options.values()))


def _compare() -> Signature:
    options = _Options(Pairing, Inputs, LossOptions, RunOptions)
    data, target, *_ = options.take("data", "target", "on_error", "ids", "num_classes")
    sides = (
        replace(data, name="a", doc="the first set, as the ``data`` of `evaluate`. Left out, like ``b``, the "
                "predictions are arrays."),
        replace(data, name="b", doc="the second set; None for another column of ``a``."),
        replace(target, doc="the column with the targets, or the array of them."),
    )  # fmt: skip
    options.say(
        weight="column of ``a`` (or array) with sample weights: means, differences and their errors are weighted.",
        on_invalid='"raise", or "skip": a row that one side cannot score is left out on both, and counted.',
        filter="which rows of both sides are read, as in `evaluate`; the others are counted. A row that only one side "
        "keeps is only on that side. With ``by_order`` rows keep the places they have without the filter.",
        memory="bytes that the threads, and then the join before it goes to disk, may hold, about, or text such as "
        '"512M"; by default 256 MiB a thread, and 1 GiB.',
        progress="called with every finished split of either side and the number of rows of both, from any thread.",
    )
    options["base"] = replace(
        _Options(Readings)["base"],
        doc="unit of the losses and their differences: None for nats, 2 for bits, 10 for bans.",
    )
    first = options.take("on", "by_order", "logits", "probs", "log_probs")
    return Signature(sides, (*first, *options.values()))


#: Public function -> its options, in the order of its signature.
SIGNATURES = {"evaluate": _evaluate(), "score": _score(), "compare": _compare()}
