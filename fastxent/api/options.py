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
from fastxent.losses.base import READY
from fastxent.losses.registry import LOSSES, OPTIONS
from fastxent.sources.options import Inputs
from fastxent.statistics.options import Measures, Readings

__all__ = ["DEFINITIONS", "SIGNATURES", "Signature"]

#: What entropy and divergence of distributions do without.
_NO_CLASS = "task class_weight pos_weight mask label_reduction label_smoothing ignore_index clip class_names labels"
#: What `score` does without, whose outputs are its ledger, and `compare`.
_EVALUATE_ALONE = ("ledger", "shard")
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
    options.take(*_EVALUATE_ALONE)

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
    options["on"] = _Options(Pairing)["on"]
    data, target, *_ = options.take("data", "target", "axis", "on_error", "ids", "num_classes", *_EVALUATE_ALONE)
    sides = (
        replace(data, name="a", doc="the first set, as the ``data`` of `evaluate`. Left out, like ``b``, the "
                "predictions are arrays."),
        replace(data, name="b", doc="the second set; None for another column of ``a``."),
        replace(target, doc="the column with the targets, or the array of them."),
    )  # fmt: skip
    options.say(
        weight="column of ``a`` (or array) with sample weights: means, differences and their errors are weighted.",
        on_invalid='"raise", or "skip": a row that one side cannot score is left out on both, and counted.',
        target_file="a file (several, a table) of its own with the targets of both sides, where these have none: "
        "``target`` is its column, and ``on`` pairs its rows with theirs, as in `evaluate`. It is held in memory.",
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
    first = options.take("on", "by_order", "logits", "probs", "log_probs", *READY)
    return Signature(sides, (*first, *options.values()))


#: What an update of an `Evaluator` may bring beside predictions and target; the rest is said once.
_OF_ROWS = (
    "target", "logits", "probs", "log_probs", *READY, "weight", "mask", "group_by", "cluster_by", "units", "keep",
)  # fmt: skip
#: What needs a data set.
_OF_DATA = ("data", "target_file", "on", "format", "filter", "on_error", "ids", "num_classes", "verify_checksums")


def _evaluator() -> Signature:
    options = _Options(Inputs, LossOptions, Measures, Readings)
    options.take(*_OF_ROWS, *_OF_DATA)
    return Signature((), (*options.values(), _Options(RunOptions)["threads"]))


def _update() -> Signature:
    options = _Options(Inputs, Measures)
    options.say(
        target="class indices (n,), distributions (n, C), or 0 and 1: arrays or tensors, as all that follows; what "
        "lies in the memory of a device is copied from there. Losses need none.",
        logits="unnormalized scores (n, C), or (n,) for a binary task. Give exactly one of ``logits``, ``probs`` and "
        "``log_probs``; the first update decides which.",
        probs="probabilities, likewise.",
        log_probs="logarithms of probabilities, likewise.",
        losses="instead of predictions and a target, losses (n,) in nats.",
        target_log_probs="instead of them, log-probabilities of the targets (n,).",
        weight="(n,) sample weights of at least 0.",
        mask="(n, L) bool that says which labels of a multilabel row count.",
        group_by="values by which statistics are gathered as well: (n,), or a dict of arrays by name, crossed.",
        cluster_by="ids of rows that belong together (documents, users): the standard error respects them.",
        units="the number of units (bytes, words) of a row.",
        keep="dict of arrays by name whose values are kept with the worst rows.",
    )
    return Signature(options.take("target"), options.take(*_OF_ROWS[1:]))


def _arrays() -> dict[str, Option]:
    """What the functions of arrays share, in the order of their signatures; ``own``: there a loss puts its options."""
    options = _Options(Inputs, LossOptions, Readings, RunOptions)
    options |= {
        "own": Option(),
        "reduction": Option(
            name="reduction",
            annotation="Reduction",
            default="mean",
            doc='"mean", "sum" (of the row losses), "none" for the loss of every row, or "elementwise" for its terms, '
            "of the shape of the scores.",
        ),
    }
    options["target"] = replace(options["target"], default=REQUIRED)
    options["task"] = replace(options["task"], annotation=f"{options['task'].type} | None", default=None)
    options.say(
        target="(n,) class indices of any integer type (or names, with ``class_names``), or (n, C) distributions.",
        logits="(n, C) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give exactly "
        "one of ``logits``, ``probs`` and ``log_probs``.",
        probs="(n, C) probabilities in [0, 1].",
        log_probs="(n, C) logarithms of probabilities.",
        class_weight="(C,) weights of at least 0, or a dict by class.",
        pos_weight="weight of the positive term, one number or one a label.",
        weight="(n,) weights of rows, of at least 0; the mean divides by their sum.",
        mask="(n, L) bool, True where a label of a multilabel task counts.",
        ignore_index="rows with this label count nowhere; their loss is 0. Of distributions, this is the row that is "
        "all on that class, since it is the same as the label.",
        base="unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.",
        on_invalid='"raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.',
        class_names="the classes in the order of the scores, when targets are names.",
        dtype='what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".',
    )
    order = (
        "target logits probs log_probs own task class_weight pos_weight weight mask label_reduction "
        "label_smoothing ignore_index reduction base clip normalize on_invalid class_names labels dtype axis threads"
    )
    return {name: options[name] for name in order.split()}


def _of_arrays(loss: str, without: str = "", **docs: str) -> Signature:
    """The options of the function of a loss: what such functions share, ``without`` some, in other words where said."""
    shared = _arrays()
    options: list[Option] = []
    for name, option in shared.items():
        if name not in without.split():
            options += LOSSES[loss].options if name == "own" else [option]
    said = tuple(replace(each, doc=docs.get(each.name, each.doc)) for each in options)
    first = int(said[0].name == "target")
    return Signature(said[:first], said[first:])


#: Public function -> its options, in the order of its signature.
SIGNATURES = {
    "evaluate": _evaluate(),
    "score": _score(),
    "compare": _compare(),
    "Evaluator": _evaluator(),
    "Evaluator.update": _update(),
    "cross_entropy": _of_arrays("cross_entropy", "task pos_weight mask label_reduction"),
    "binary_cross_entropy": _of_arrays(
        "cross_entropy",
        "task class_weight normalize",
        target="(n,) or (n, L) of 0 and 1 (any integer type or bool), or probabilities (any float type); (n,) of "
        "names, with ``class_names``.",
        logits="scores of the target's shape; float16, bfloat16, float32 or float64, as the other forms. Give exactly "
        "one of ``logits``, ``probs`` and ``log_probs``.",
        probs="probabilities of the positive, in [0, 1].",
        log_probs="their logarithms.",
        ignore_index="rows (labels of a multilabel row) with this target count nowhere.",
        class_names="the two classes, the positive one second, when targets are names; of a multilabel task the "
        "labels.",
    ),
    "focal_loss": _of_arrays(
        "focal",
        target="(n,) class indices or (n, C) distributions; of a binary task (n,) and of a multilabel one (n, L) of 0 "
        "and 1, or probabilities.",
        logits="(n, C) or (n,) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give "
        "exactly one of ``logits``, ``probs`` and ``log_probs``.",
        probs="probabilities in [0, 1].",
        log_probs="logarithms of probabilities.",
        task='"multiclass", "binary" or "multilabel"; by default scores of shape (n,) are binary, others multiclass.',
        class_weight="(C,) weights, the alpha of the literature; multiclass only.",
        pos_weight="weight of the positive term, one number or one a label; binary and multilabel only.",
        ignore_index="rows (labels of a multilabel row) with this target count nowhere.",
    ),
    "poly1_loss": _of_arrays("poly1", "task pos_weight mask label_reduction"),
    "entropy": _of_arrays("entropy", f"target {_NO_CLASS}"),
    "kl_divergence": _of_arrays(
        "kl_divergence",
        _NO_CLASS,
        target="(n, C) distributions in the form of the predictions: probabilities beside ``probs``, logits beside "
        "``logits``, logarithms of probabilities beside ``log_probs``.",
    ),
}
