"""The spec: what is measured, independent of where the rows lie. Validation happens here and only here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

from fastxent.base.errors import StateError, UsageError
from fastxent.base.kinds import KINDS
from fastxent.losses import base
from fastxent.losses.base import READY, Form, ReadyForm, Task
from fastxent.losses.ready import READY_MADE
from fastxent.losses.registry import LOSSES, OPTIONS

__all__ = ["CLIP_NAMES", "NUMERICS_VERSION", "Form", "LabelReduction", "OnInvalid", "Spec", "Task", "check_distinct"]

OnInvalid = Literal["raise", "skip", "propagate"]
LabelReduction = Literal["mean", "sum"]

#: Changes with every change that can move a bit of a row loss or of a total: coefficients, orders of summation, cells.
NUMERICS_VERSION = 6

#: clip="name" -> the epsilon of that library, by kind of number. scikit-learn takes the machine epsilon
#: of the predictions' own type (its document of log_loss), Keras 1e-7, torch bounds the logarithm at -100.
CLIP_NAMES: dict[str, dict[str, float]] = {
    "sklearn": {kind: number.epsilon for kind, number in KINDS.items()},
    "keras": dict.fromkeys(KINDS, 1e-7),
    "torch": dict.fromkeys(KINDS, math.exp(-100.0)),
}


def _choice(name: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise UsageError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def _weights(name: str, values: Iterable[float] | None, count: int, what: str) -> tuple[float, ...] | None:
    if values is None:
        return None
    try:
        result = tuple(float(v) for v in values)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name}: expected numbers, one a {what}, got {values!r}") from None
    if len(result) != count:
        raise UsageError(f"{name}: expected {count} numbers, one a {what}, got {len(result)}")
    for i, value in enumerate(result):
        if not (0.0 <= value < math.inf):
            raise UsageError(f"{name}[{i}]: expected a finite number of at least 0, got {value!r}")
    return result


def check_distinct(names: Iterable[Any]) -> None:
    """Raise `UsageError` if two classes have the same name."""
    seen: set[str] = set()
    for name in map(str, names):
        if name in seen:
            raise UsageError(f"class_names: {name!r} names two classes; every class needs a name of its own")
        seen.add(name)


def _is_single(value: Any) -> bool:
    """Whether a value is one number; arrays and tensors of no dimension can be iterated over, by their type."""
    return getattr(value, "ndim", 1) == 0 or not isinstance(value, Iterable)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name}: expected a number, got {value!r}") from None


def _integer(name: str, value: Any) -> int:
    try:
        result = operator.index(value)
    except TypeError:
        raise UsageError(f"{name}: expected an integer, got {value!r}") from None
    if not -(2**63) <= result < 2**63:
        raise UsageError(f"{name}: expected an integer of 64 bits, got {value!r}")
    return result


@dataclass(frozen=True, slots=True)
class Spec:
    """What is measured.

    Attributes:
        num_classes: scores a row (1 for binary, labels a row for multilabel).
        task: "multiclass" (softmax), "binary" (one score a row) or "multilabel" (independent binary scores).
        form: what the scores are; of losses that are ready-made "losses" or "target_log_probs".
        loss: the loss of a row, by its name in `fastxent.losses.registry.LOSSES`.
        loss_options: names and values of the options of this loss, all of them; a mapping of some will do.
        soft: targets are distributions or 0/1 matrices of the scores' shape rather than class indices.
        label_smoothing: in [0, 1]; the target becomes (1 - a) t + a / C, for binary and multilabel (1 - a) t + a / 2.
        ignore_index: rows with this label are ignored; among distributions those that are one-hot there.
        class_weight: one weight a class, multiplied into the loss of the rows (or soft targets) of that class.
        pos_weight: weight of the positive term: one number for binary, one a label for multilabel.
        weighted: rows carry sample weights.
        on_invalid: what an invalid row does: raise an error, be skipped and counted, or make the totals NaN.
        clip: probabilities are clipped to [clip, 1 - clip] before the logarithm, or by the rule of a named
            library (`CLIP_NAMES`); None clips nothing.
        normalize: probabilities of a row are divided by their sum.
        class_names: names of the classes in the order of the scores.
        label_reduction: whether the loss of a multilabel row is the mean of its labels' or their sum.
    """

    num_classes: int
    task: Task = "multiclass"
    form: Form | ReadyForm = "logits"
    loss: str = "cross_entropy"
    loss_options: tuple[tuple[str, float], ...] = ()
    soft: bool = False
    label_smoothing: float = 0.0
    ignore_index: int | None = None
    class_weight: tuple[float, ...] | None = None
    pos_weight: tuple[float, ...] | None = None
    weighted: bool = False
    on_invalid: OnInvalid = "raise"
    clip: float | str | None = None
    normalize: bool = False
    class_names: tuple[str, ...] | None = None
    label_reduction: LabelReduction = "mean"

    def __post_init__(self) -> None:
        _choice("task", self.task, get_args(Task))
        _choice("form", self.form, (*get_args(Form), *READY))
        _choice("on_invalid", self.on_invalid, get_args(OnInvalid))
        _choice("loss", self.loss, LOSSES)
        _choice("label_reduction", self.label_reduction, get_args(LabelReduction))
        if self.form in READY:
            _check_ready_made(dataclasses.asdict(self))
        self._check_loss()
        if self.num_classes < 1:
            raise UsageError(f"num_classes: expected at least 1, got {self.num_classes}")
        if self.task == "binary" and self.num_classes != 1:
            raise UsageError(
                f"task 'binary' takes one score a row, got {self.num_classes}; two columns are task 'multiclass'"
            )
        if not (0.0 <= self.label_smoothing <= 1.0):
            raise UsageError(f"label_smoothing: expected a number in [0, 1], got {self.label_smoothing!r}")
        known = self.clip in CLIP_NAMES if isinstance(self.clip, str) else self.clip is None or 0.0 < self.clip < 0.5
        if not known:
            raise UsageError(
                f"clip: expected a number in (0, 0.5) or one of {', '.join(map(repr, CLIP_NAMES))}, got {self.clip!r}"
            )
        if self.clip is not None and self.form != "probs":
            raise UsageError(f"clip applies to probs, and these are {self.form}")
        if self.normalize and (self.form == "logits" or self.task != "multiclass"):
            raise UsageError("normalize applies to multiclass probs and log_probs")
        if self.class_weight is not None and self.task != "multiclass":
            raise UsageError(f"class_weight applies to task 'multiclass'; for {self.task} use pos_weight")
        if self.pos_weight is not None and self.task == "multiclass":
            raise UsageError("pos_weight applies to tasks 'binary' and 'multilabel'; for multiclass use class_weight")
        if self.label_reduction != "mean" and self.task != "multilabel":
            raise UsageError(f"label_reduction applies to task 'multilabel', and this is {self.task!r}")
        check_distinct(self.class_names or ())
        if self.class_names is not None and self.task != "binary" and len(self.class_names) != self.num_classes:
            raise UsageError(f"class_names: expected {self.num_classes} names, got {len(self.class_names)}")
        for name in self.class_names or ():
            if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
                raise UsageError(f"class_names: {name!a} is not Unicode text")

    def _check_loss(self) -> None:
        loss = self.definition
        object.__setattr__(self, "loss_options", loss.parameters(dict(self.loss_options)))
        if self.task not in loss.tasks:
            tasks = " and ".join(map(repr, loss.tasks))
            raise UsageError(f"loss {self.loss!r} applies to task {tasks}")
        labels = self.label_smoothing or self.class_weight is not None or self.ignore_index is not None
        if labels and not loss.takes_class_options:
            raise UsageError(f"loss {self.loss!r} takes no label_smoothing, class_weight or ignore_index")
        if loss.needs_distribution and not self.soft:
            raise UsageError(f"loss {self.loss!r} needs a distribution a row as target")

    @classmethod
    def make(
        cls,
        *,
        num_classes: int,
        task: Task = "multiclass",
        form: Form | ReadyForm = "logits",
        loss: str = "cross_entropy",
        soft: bool = False,
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        class_weight: Iterable[float] | Mapping[Any, float] | None = None,
        pos_weight: float | Iterable[float] | None = None,
        weighted: bool = False,
        on_invalid: OnInvalid = "raise",
        clip: float | str | None = None,
        normalize: bool = False,
        class_names: Iterable[str] | None = None,
        label_reduction: LabelReduction = "mean",
        **own: float,
    ) -> Spec:
        """A spec from the words of the public functions: one pos_weight for all labels, weights by class name.

        ``own`` are options of single losses: those of another one have to be at their defaults.
        Numbers of NumPy and torch become those of Python, as the JSON of a spec needs them.
        """
        if form in READY:
            _check_ready_made(locals())
        names = None if class_names is None else tuple(str(name) for name in class_names)
        if isinstance(class_weight, Mapping):
            class_weight = _by_name(class_weight, names, num_classes)
        positive: Any = pos_weight
        if positive is not None and _is_single(positive):
            positive = [_number("pos_weight", positive)] * num_classes
        if clip is not None and not isinstance(clip, str):
            clip = _number("clip", clip)
        if unknown := own.keys() - OPTIONS.keys():
            raise TypeError(f"Spec.make() got an unexpected keyword argument {min(unknown)!r}")
        return cls(
            num_classes=num_classes,
            task=task,
            form=form,
            loss=loss,
            loss_options=_of_loss(loss, own),
            soft=soft,
            label_smoothing=_number("label_smoothing", label_smoothing),
            ignore_index=None if ignore_index is None else _integer("ignore_index", ignore_index),
            class_weight=_weights("class_weight", class_weight, num_classes, "class"),
            pos_weight=_weights("pos_weight", positive, num_classes, "label"),
            weighted=weighted,
            on_invalid=on_invalid,
            clip=clip,
            normalize=normalize,
            class_names=names,
            label_reduction=label_reduction,
        )

    def epsilon(self, kind: str) -> float:
        """The clip for predictions of this kind; -1 for none."""
        if isinstance(self.clip, str):
            return CLIP_NAMES[self.clip][kind]
        return -1.0 if self.clip is None else self.clip

    @property
    def definition(self) -> base.Loss:
        """The loss itself, with what it applies to and needs."""
        return READY_MADE if self.form in READY else LOSSES[self.loss]

    @property
    def reads_weight(self) -> bool:
        """Whether the mean divides by a sum of weights rather than by a count."""
        return self.weighted or self.class_weight is not None

    @property
    def is_plain(self) -> bool:
        """Whether the loss is -log p of an integer label."""
        plain = self.definition.is_log_loss and not self.soft and self.pos_weight is None
        return plain and self.label_smoothing == 0.0

    def to_dict(self) -> dict[str, Any]:
        """The fields and options of the loss that are not at their default, as JSON values."""
        values = dataclasses.asdict(self)
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        values |= dict(values.pop("loss_options"))
        defaults |= {option.name: option.default for option in self.definition.options}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value != defaults[name]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spec:
        """The inverse of `to_dict`; raises StateError for fields this version does not know."""
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        loss = LOSSES.get(plain.get("loss", "cross_entropy"))
        options = {each.name: plain.pop(each.name) for each in (loss.options if loss else ()) if each.name in plain}
        known = {field.name for field in dataclasses.fields(cls)} - {"loss_options"}
        if unknown := sorted(plain.keys() - known):
            raise StateError(f"spec: unknown fields {', '.join(unknown)}; it was made by another version of fastxent")
        return cls(**plain, loss_options=tuple(options.items()))

    def digest(self) -> str:
        """SHA-256 of the spec and the numerics version: totals with equal digests may be merged."""
        text = json.dumps({"numerics_version": NUMERICS_VERSION, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _check_ready_made(given: Mapping[str, Any]) -> None:
    """Losses that are ready-made are what they are: raises UsageError for what makes a loss of predictions."""
    for field in dataclasses.fields(Spec):
        name, value = field.name, given.get(field.name, field.default)
        if name in ("num_classes", "form", "loss_options", "weighted", "on_invalid") or value is field.default:
            continue
        if field.default is None or value != field.default:
            raise UsageError(f"{name} applies to predictions, and {given['form']} are ready-made; leave it out")


def _of_loss(loss: str, given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The options that a loss takes; raises UsageError if another one's was given a value that is not its default."""
    own = [option.name for option in LOSSES[loss].options] if loss in LOSSES else []
    for name, value in given.items():
        if name not in own and value != OPTIONS[name].default:
            owners = " and ".join(repr(each.name) for each in LOSSES.values() if OPTIONS[name] in each.options)
            raise UsageError(f"{name} applies to loss {owners}, and this is {loss!r}")
    return tuple((name, value) for name, value in given.items() if name in own)


def _by_name(weights: Mapping[Any, float], names: tuple[str, ...] | None, num_classes: int) -> list[float]:
    """Weights given by class index or class name; classes not named weigh 1."""
    result = [1.0] * num_classes
    for key, value in weights.items():
        if isinstance(key, Integral) and 0 <= int(key) < num_classes:
            result[int(key)] = value
        elif names is not None and str(key) in names:
            result[names.index(str(key))] = value
        else:
            raise UsageError(f"class_weight: no class {key!r}")
    return result
