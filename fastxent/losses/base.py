"""What a loss says of itself, once: its options, what it applies to, and which row kernel computes it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from fastxent.base.errors import UsageError
from fastxent.base.option import Option

__all__ = ["FEW_CLASSES", "READY", "Form", "Kernel", "KernelKey", "Loss", "ReadyForm", "Task", "number"]

Task = Literal["multiclass", "binary", "multilabel"]
Form = Literal["logits", "probs", "log_probs"]
#: What is there instead of predictions where somebody has computed the losses: -log p of the target, or log p.
ReadyForm = Literal["losses", "target_log_probs"]
READY: tuple[str, ...] = get_args(ReadyForm)

#: Up to this many classes a row-major matrix is scored with one row a lane. Measured on AVX2, float32, loss alone:
#: at 32 classes 1.2 ns a score in cache against 1.7 with the lanes along the row; out of memory the latter takes
#: 0.87 of the time at 64 classes and 0.81 at 100.
FEW_CLASSES = 48


class KernelKey(NamedTuple):
    """What decides the machine code of a row kernel.

    ``kind`` and ``target`` are the kinds of the predictions' and the target's numbers, ``columns`` says that the
    predictions are one array a class, ``few`` that there are at most `FEW_CLASSES`. ``soft``: targets are
    distributions or matrices; ``shared``: more than one class has a share of a row's target, by ``soft`` or by
    smoothing; ``weighed``: labels have class weights. ``full`` asks for more than the loss, ``entropy`` for the entropy
    of the predictions.
    """

    task: Task
    form: Form | ReadyForm
    kind: str
    target: str
    columns: bool
    few: bool
    soft: bool
    shared: bool
    weighed: bool
    normalize: bool
    masked: bool
    full: bool
    entropy: bool


class Kernel(NamedTuple):
    """A row kernel with the name that tells it from all others; ``reads_columns``: one array a class, as they are."""

    rows: Any
    name: str
    reads_columns: bool = False

    def then(self, step: Any, name: str) -> Kernel:
        """This kernel, and after it a step on the scores it left."""
        from fastxent.kernels.block_loop import then

        name = f"{self.name}-{name}"
        return self._replace(rows=then(self.rows, step, name), name=name)


class Loss(ABC):
    """A loss of single rows; a module of this folder defines one and holds it as ``LOSS``.

    Attributes:
        name: what ``loss=`` calls it.
        doc: what `help` says of it after its name.
        options: the numbers that it takes, by keyword; row kernels find them in ``Problem.parameters``, in this order.
        tasks: the tasks that it applies to.
        needs_target: whether it looks at targets.
        needs_distribution: whether targets have to be distributions.
        target_in_form: whether targets are in the form of the predictions: logits beside logits.
        predicts_class: whether the predictions are held against a class, which accuracy and calibration need.
        takes_class_options: whether labels may be smoothed, weighed and ignored.
        checks_sum: whether probabilities whose sum is not 1 are counted.
        is_log_loss: whether it is -log p of the target, as D2 and temperature scaling take it to be.
    """

    name: ClassVar[str]
    doc: ClassVar[str] = ""
    options: ClassVar[tuple[Option, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = get_args(Task)
    needs_target: ClassVar[bool] = True
    needs_distribution: ClassVar[bool] = False
    target_in_form: ClassVar[bool] = False
    predicts_class: ClassVar[bool] = True
    takes_class_options: ClassVar[bool] = True
    checks_sum: ClassVar[bool] = True
    is_log_loss: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name

    def parameters(self, given: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
        """The values of all options, by name; raises UsageError for what is no option or out of its range."""
        own = [option.name for option in self.options]
        for name in given:
            if name not in own:
                raise UsageError(f"{name}: loss {self.name!r} takes no such option")
        return tuple((each.name, number(each, given.get(each.name, each.default))) for each in self.options)

    def kernel(self, key: KernelKey) -> Kernel:
        """The row kernel, with what follows it for class weights of labels and for the entropy of the predictions."""
        kernel = self.rows(key, by_row=key.entropy)
        if key.weighed:
            from fastxent.kernels.rows.soft_targets import weigh_rows

            kernel = kernel.then(weigh_rows, "weighed")
        if key.entropy:
            from fastxent.kernels.rows.entropy import entropy

            kernel = kernel.then(entropy(key.form, key.kind), f"entropy-{key.form}")
        return kernel

    @abstractmethod
    def rows(self, key: KernelKey, *, by_row: bool = False) -> Kernel:
        """The row kernel of the loss alone; ``by_row``: a step that follows reads rows, so columns are gathered."""


def number(option: Option, value: Any) -> float:
    """The value of an option as a number in its range."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{option.name}: expected a number, got {value!r}") from None
    least = -math.inf if option.least is None else option.least
    most = math.inf if option.most is None else option.most
    if not (least <= result <= most and math.isfinite(result)):
        bounds = [] if option.least is None else [f"at least {option.least:g}"]
        bounds += [] if option.most is None else [f"at most {option.most:g}"]
        range_ = f" of {' and '.join(bounds)}" if bounds else ""
        raise UsageError(f"{option.name}: expected a finite number{range_}, got {result!r}")
    return result
