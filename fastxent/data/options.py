"""What a row costs: the definition of these keywords, of all losses and of single ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from fastxent.base.option import option
from fastxent.data.spec import LabelReduction, OnInvalid
from fastxent.losses.registry import LOSSES

__all__ = ["LossOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """The loss of a row, as the public functions take it; `fastxent.Spec` checks it."""

    loss: str = option(
        "cross_entropy",
        ", ".join(f'"{each.name}" {each.doc}'.strip() for each in LOSSES.values()) + ".",
        choices=tuple(LOSSES),
        brief="The loss of a row.",
    )
    class_weight: Iterable[float] | Mapping[Any, float] | None = option(
        None,
        "weights by class, a sequence in class order or a dict.",
        reads="numbers",
        metavar="W,W,...",
        brief="One weight a class.",
    )
    pos_weight: float | Iterable[float] | None = option(
        None,
        "weight of the positive term of binary and multilabel losses, one number or one a label.",
        reads="numbers",
        metavar="W[,W...]",
        brief="Weight of the positive term (binary, multilabel).",
    )
    label_reduction: LabelReduction = option(
        "mean",
        'the loss of a multilabel row: the "mean" of its labels\' losses (Keras, torch), or their "sum".',
        choices=get_args(LabelReduction),
        brief="The loss of a multilabel row: of its labels' losses.",
    )
    label_smoothing: float = option(0.0, "in [0, 1].", brief="Smoothing of the targets, in [0, 1].")
    ignore_index: int | None = option(
        None,
        "rows with this label are counted as ignored and enter nothing else.",
        brief="Rows with this label are ignored.",
    )
    on_invalid: OnInvalid = option(
        "raise",
        '"raise", "skip" and count, or "propagate" NaN.',
        choices=get_args(OnInvalid),
        brief="What a row that cannot be scored does.",
    )
    clip: float | str | None = option(
        None,
        'clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.',
        reads="clip",
        brief="Clip probabilities to [EPS, 1 - EPS]; or sklearn, keras, torch.",
    )
    normalize: bool = option(
        False,
        "divide the probabilities of a row by their sum.",
        brief="Divide the probabilities of a row by their sum.",
    )
    #: What single losses take, by keyword: the options that `fastxent.losses.registry.OPTIONS` collects.
    own: Mapping[str, Any] = field(default_factory=dict)
