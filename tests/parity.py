"""What other libraries call our options, and how far their numbers are from ours.

`ROWS` is the one table: ``tests/test_parity.py`` asserts every row of it, and ``python -m tests.parity`` writes it,
with the differences as measured, to ``docs/parity.md``. A row either agrees within its tolerance, or says
in a sentence why we differ; then the test asserts that we do.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import os
import platform
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastxent as fx

# Its default backend, tensorflow, is not installed for the tests.
os.environ.setdefault("KERAS_BACKEND", "torch")

Array = NDArray[Any]
Case = dict[str, Array]
Call = Callable[[Case], Any]

#: peer -> (module, distribution)
PEERS = {
    "torch": ("torch", "torch"),
    "scikit-learn": ("sklearn", "scikit-learn"),
    "SciPy": ("scipy", "scipy"),
    "optax": ("optax", "optax"),
    "torchmetrics": ("torchmetrics", "torchmetrics"),
    "Keras": ("keras", "keras"),
}
REDUCTIONS = ("mean", "sum", "none")
#: float64 throughout; what a peer computes in float32; what it computes in float16.
DOUBLE, SINGLE, HALF = 1e-13, 2e-6, 1e-3


@dataclass(frozen=True)
class Row:
    """One option of one peer.

    Attributes:
        peer: key of `PEERS`.
        option: the call in the peer's words.
        ours: the same in our words.
        case: makes the data.
        call: our numbers.
        theirs: the peer's numbers; it may raise where ``reason`` says so.
        tolerance: largest difference allowed, see `difference`.
        reason: why we differ on purpose; empty if we do not.
    """

    peer: str
    option: str
    ours: str
    case: Callable[[], Case]
    call: Call
    theirs: Call
    tolerance: float = DOUBLE
    reason: str = ""

    def measure(self) -> float | str:
        """The largest difference, or who raises what: we for rows that are none, or the peer."""
        case = self.case()
        try:
            ours = self.call(case)
        except fx.InvalidRowError as error:
            if not self.reason:
                raise
            self.theirs(case)
            return f"ours: {type(error).__name__}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                theirs = self.theirs(case)
            except Exception as error:
                if not self.reason:
                    raise
                return f"theirs: {type(error).__name__}"
        return difference(ours, theirs)


def difference(ours: Any, theirs: Any) -> float:
    """max |a - b| / max(1, |b|); equal infinities and NaN beside NaN differ by 0, other ones by inf."""
    a, b = (np.atleast_1d(np.asarray(x, np.float64)) for x in (ours, theirs))
    assert a.shape == b.shape, (a.shape, b.shape)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        off = np.where(same, 0.0, np.abs(a - b) / np.maximum(1.0, np.abs(b)))
    off[~np.isfinite(off)] = np.inf
    return float(off.max(initial=0.0))


def given(case: Case, options: dict[str, Any]) -> dict[str, Any]:
    """Options with the arrays of the case in place of their names."""
    return {name: case[v] if isinstance(v, str) and v in case else v for name, v in options.items()}


def flat(values: Iterable[Any]) -> Array:
    """Numbers and arrays, one after the other."""
    return np.concatenate([np.ravel(np.asarray(value, np.float64)) for value in values])


# --- data ----------------------------------------------------------------------------------------------------

N, C = 203, 7


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def multiclass() -> Case:
    """Logits from timid to sure, with labels, distributions and weights; every class occurs."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((N, C)) * rng.choice([1.0, 4.0, 15.0], (N, 1))
    p = softmax(z)
    return {
        "z": z, "p": p, "lp": np.log(p), "y": np.arange(N) % C, "q": rng.dirichlet(np.ones(C), N),
        "w": rng.random(C) * 2 + 0.1, "s": rng.random(N) + 0.1,
    }  # fmt: skip


def timid() -> Case:
    """No probability is below the machine epsilon, where scikit-learn begins to clip."""
    case = multiclass()
    return case | {"p": softmax(case["z"] / 15)}


def rounded() -> Case:
    """Probabilities that are float32, as torchmetrics makes them; some of them are 1."""
    case = multiclass()
    return case | {"p": np.float64(np.float32(case["p"]))}


def binary() -> Case:
    """Scores of single events with labels, probabilities as targets, and weights."""
    rng = np.random.default_rng(2)
    z = rng.standard_normal(N) * rng.choice([1.0, 4.0, 15.0], N)
    return {
        "z": z, "p": 1 / (1 + np.exp(-z)), "y": rng.integers(0, 2, N), "q": rng.random(N), "s": rng.random(N) + 0.1,
    }  # fmt: skip


def multilabel() -> Case:
    """Rows of seven independent labels."""
    rng = np.random.default_rng(3)
    z = rng.standard_normal((N, C)) * 4
    return {
        "z": z, "p": 1 / (1 + np.exp(-z)), "y": rng.integers(0, 2, (N, C)), "q": rng.random((N, C)),
        "w": rng.random(C) * 3,
    }  # fmt: skip


def padded(label: int) -> Callable[[], Case]:
    """Every third row has this label."""

    def make() -> Case:
        case = multiclass()
        case["y"][::3] = label
        return case

    return make


def nothing_left() -> Case:
    case = multiclass()
    case["y"][:] = -100
    return case


def empty() -> Case:
    return {name: values if name == "w" else values[:0] for name, values in multiclass().items()}


def single(make: Callable[[], Case]) -> Callable[[], Case]:
    """The same in float32, as far as it is floating point."""
    return lambda: {k: np.float32(v) if v.dtype.kind == "f" else v for k, v in make().items()}


def half() -> Case:
    """Probabilities in float16."""
    case = timid()
    return case | {"p": np.float16(case["p"])}


def certain() -> Case:
    """Probabilities of 0 and 1, right and wrong."""
    p = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    events = {"p1": np.array([0.0, 1.0, 0.0, 1.0, 0.4]), "y1": np.array([1, 0, 0, 1, 1])}
    return {"p": p, "y": np.array([0, 0, 2])} | events


def masked() -> Case:
    """Classes that are switched off by a logit of -inf, and that no target has."""
    case = multiclass()
    case["z"][:, 0] = -np.inf
    q = case["q"]
    q[:, 0] = 0.0
    case["q"] = q / q.sum(axis=1, keepdims=True)
    return case


def lopsided() -> Case:
    """Positive rows that do not sum to 1."""
    rng = np.random.default_rng(4)
    return {"p": rng.random((N, C)) * 0.3 + 0.01, "q": rng.random((N, C)), "y": np.arange(N) % C}


# --- torch ---------------------------------------------------------------------------------------------------


def tensors(case: Case) -> Any:
    torch = importlib.import_module("torch")
    return torch.nn.functional, {name: torch.from_numpy(values) for name, values in case.items()}


def torch_cross_entropy(target: str, scores: str = "z", function: str = "cross_entropy", **options: Any) -> Call:
    """All reductions of F.cross_entropy or F.nll_loss; options name arrays of the case, or are numbers."""

    def call(case: Case) -> Array:
        functional, t = tensors(case)
        loss, more = getattr(functional, function), given(t, options)
        return flat(loss(t[scores], t[target], reduction=how, **more) for how in REDUCTIONS)

    return call


def cross_entropy(target: str, form: str = "logits", **options: Any) -> Call:
    """All reductions of ours."""
    scores = {"logits": "z", "probs": "p", "log_probs": "lp"}[form]

    def call(case: Case) -> Array:
        more = given(case, {form: scores} | options)
        return flat(fx.cross_entropy(case[target], reduction=how, **more) for how in REDUCTIONS)

    return call


def keywords(**options: Any) -> str:
    """Options as they stand in a call, arrays by name."""
    return ", ".join(f"{name}={value}" for name, value in options.items())


def torch_hard() -> Iterable[Row]:
    choices = itertools.product((None, "w"), (None, -100, 2), (0.0, 0.1))
    for weight, ignore, smoothing in choices:
        ours: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        if weight is not None:
            ours["class_weight"] = theirs["weight"] = weight
        if ignore is not None:
            ours["ignore_index"] = theirs["ignore_index"] = ignore
        if smoothing:
            ours["label_smoothing"] = theirs["label_smoothing"] = smoothing
        make = multiclass if ignore is None else padded(ignore)
        yield Row(
            "torch",
            f"cross_entropy(z, y{', ' if theirs else ''}{keywords(**theirs)})",
            f"cross_entropy(y, logits=z{', ' if ours else ''}{keywords(**ours)})",
            make,
            cross_entropy("y", **ours),
            torch_cross_entropy("y", **theirs),
        )
        if not smoothing:
            yield Row(
                "torch",
                f"nll_loss(lp, y{', ' if theirs else ''}{keywords(**theirs)})",
                f"cross_entropy(y, log_probs=lp{', ' if ours else ''}{keywords(**ours)})",
                make,
                cross_entropy("y", "log_probs", **ours),
                torch_cross_entropy("y", "lp", "nll_loss", **theirs),
            )


def torch_soft() -> Iterable[Row]:
    for weight, smoothing in itertools.product((None, "w"), (0.0, 0.1)):
        ours: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        if weight is not None:
            ours["class_weight"] = theirs["weight"] = weight
        if smoothing:
            ours["label_smoothing"] = theirs["label_smoothing"] = smoothing
        yield Row(
            "torch",
            f"cross_entropy(z, q{', ' if theirs else ''}{keywords(**theirs)})",
            f"cross_entropy(q, logits=z{', ' if ours else ''}{keywords(**ours)})",
            multiclass,
            cross_entropy("q", **ours),
            torch_cross_entropy("q", **theirs),
        )


def torch_binary(function: str, scores: str, target: str, **options: Any) -> Call:
    def call(case: Case) -> Array:
        functional, t = tensors(case)
        more = {k: t["z"].new_tensor(v) if isinstance(v, float) else v for k, v in given(t, options).items()}
        loss, y = getattr(functional, function), t[target].to(t[scores].dtype)
        return flat(loss(t[scores], y, reduction=how, **more) for how in REDUCTIONS)

    return call


def binary_cross_entropy(form: str, target: str, mean_of_all: bool = False, **options: Any) -> Call:
    """All reductions; ``mean_of_all`` divides by the number of rows, whatever their weights."""
    scores = {"logits": "z", "probs": "p"}[form]

    def call(case: Case) -> Array:
        more = given(case, {form: scores} | options)

        def loss(how: str) -> Any:
            return fx.binary_cross_entropy(case[target], reduction=how, **more)

        mean = loss("sum") / len(case[target]) if mean_of_all else loss("mean")
        return flat([mean, loss("sum"), loss("none")])

    return call


def torch_binaries() -> Iterable[Row]:
    choices = itertools.product(("logits", "probs"), ("y", "q"), (None, "s"), (None, 3.0))
    for form, target, weight, positive in choices:
        if form == "probs" and positive is not None:
            continue
        function = "binary_cross_entropy" + ("_with_logits" if form == "logits" else "")
        ours: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        if weight is not None:
            ours["sample_weight"] = theirs["weight"] = weight
        if positive is not None:
            ours["pos_weight"] = theirs["pos_weight"] = positive
        scores = "z" if form == "logits" else "p"
        yield Row(
            "torch",
            f"{function}({scores}, {target}{', ' if theirs else ''}{keywords(**theirs)})",
            f"binary_cross_entropy({target}, {form}={scores}{', ' if ours else ''}{keywords(**ours)})"
            + (', mean: reduction="sum" / n' if weight else ""),
            binary,
            binary_cross_entropy(form, target, mean_of_all=weight is not None, **ours),
            torch_binary(function, scores, target, **theirs),
        )


def by_row(call: Call) -> Call:
    """Element-wise losses as their means by row, after the mean and the sum of those."""

    def means(case: Case) -> Array:
        elements = np.asarray(call(case)).reshape(N, C).mean(axis=1)
        return flat([elements.mean(), elements.sum(), elements])

    return means


def torch_elements(function: str, scores: str, target: str, rows: bool = True, **options: Any) -> Call:
    def call(case: Case) -> Array:
        functional, t = tensors(case)
        loss, y = getattr(functional, function), t[target].to(t[scores].dtype)
        return loss(t[scores], y, reduction="none", **given(t, options)).numpy()

    return by_row(call) if rows else call


def label_at_a_time(case: Case) -> Array:
    """Weights of elements beside weights of the positive: each label is a binary task, its column a view."""

    def losses(k: int) -> Array:
        y, z, weight = (case[name][:, k] for name in "yzq")
        none: Array = fx.binary_cross_entropy(
            y, logits=z, sample_weight=weight, pos_weight=case["w"][k], reduction="none"
        )
        return none

    return np.stack([losses(k) for k in range(C)], axis=1)


def with_log_targets() -> Case:
    case = multiclass()
    return case | {"lq": np.log(case["q"])}


def none(function: Callable[..., Any], *positional: str, **named: Any) -> Call:
    """Row by row; arguments name arrays of the case, or are values."""

    def call(case: Case) -> Any:
        return function(*(case[key] for key in positional), **given(case, named), reduction="none")

    return call


def torch_poly1(target: str, epsilon: float) -> Call:
    """L + epsilon (1 - p_t) as Leng et al. (2022) write it."""

    def call(case: Case) -> Array:
        functional, t = tensors(case | {"one_hot": np.eye(C)[case["y"]]})
        share = t["one_hot" if target == "y" else target]
        wrong = (share * (1.0 - functional.softmax(t["z"], dim=1))).sum(1)
        loss: Array = (functional.cross_entropy(t["z"], t[target], reduction="none") + epsilon * wrong).numpy()
        return loss

    return call


def torch_divergence(log_target: bool) -> Call:
    """F.kl_div by row, its sum, and the mean over rows."""

    def call(case: Case) -> Array:
        functional, t = tensors(case)
        given = {"input": t["lp"], "target": t["lq" if log_target else "q"], "log_target": log_target}
        rows = functional.kl_div(**given, reduction="none").sum(dim=1)
        return flat([rows, *(functional.kl_div(**given, reduction=how) for how in ("sum", "batchmean"))])

    return call


def volume() -> Case:
    """Scores of shape (n, C, d), as torch has them for images and sequences, and a label for each place."""
    rng = np.random.default_rng(5)
    return {"z": rng.standard_normal((29, C, 7)) * 4, "y": rng.integers(0, C, (29, 7)), "w": multiclass()["w"]}


def of_volume(case: Case) -> Array:
    """The class axis last, and every place a row."""
    rows, labels = np.moveaxis(case["z"], 1, -1).reshape(-1, C), case["y"].ravel()
    return flat(fx.cross_entropy(labels, logits=rows, class_weight=case["w"], reduction=how) for how in REDUCTIONS)


def weighed_labels(case: Case) -> Array:
    """Weights of labels, a label at a time."""
    columns = [
        fx.binary_cross_entropy(y, logits=z, reduction="none") for y, z in zip(case["y"].T, case["z"].T, strict=True)
    ]
    rows = (case["w"] * np.stack(columns, axis=1)).mean(axis=1)
    return flat([rows.mean(), rows.sum(), rows])


def beyond() -> Case:
    """Numbers that are no logarithms of probabilities, and targets that are none."""
    case = multiclass()
    case["lp"][3, 1] = 0.5
    case["q"][5, 2] = -0.25
    return case | {"e": np.where(np.arange(N) % 9 == 0, 1.5, case["q"][:, 0])}


TORCH = [
    *torch_hard(),
    *torch_soft(),
    *torch_binaries(),
    Row(
        "torch", "cross_entropy(z, y), float32", "cross_entropy(y, logits=z), float32", single(multiclass),
        cross_entropy("y"), torch_cross_entropy("y"), SINGLE,
    ),
    Row(
        "torch", "binary_cross_entropy_with_logits(z, y), float32", "binary_cross_entropy(y, logits=z), float32",
        single(binary), binary_cross_entropy("logits", "y"),
        torch_binary("binary_cross_entropy_with_logits", "z", "y"), SINGLE,
    ),
    Row(
        "torch", "binary_cross_entropy_with_logits(z, y, pos_weight=w), (n, L)",
        "binary_cross_entropy(y, logits=z, pos_weight=w), a row being the mean of its labels", multilabel,
        binary_cross_entropy("logits", "y", pos_weight="w"),
        torch_elements("binary_cross_entropy_with_logits", "z", "y", pos_weight="w"),
    ),
    Row(
        "torch", "binary_cross_entropy_with_logits(z, y, weight=s), (n, L)",
        "binary_cross_entropy(y.ravel(), logits=z.ravel(), sample_weight=s.ravel())", multilabel,
        lambda c: fx.binary_cross_entropy(
            c["y"].ravel(), logits=c["z"].ravel(), sample_weight=c["q"].ravel(), reduction="none"
        ),
        lambda c: torch_elements("binary_cross_entropy_with_logits", "z", "y", weight="q", rows=False)(c).ravel(),
    ),
    Row(
        "torch", "binary_cross_entropy_with_logits(z, y, weight=s, pos_weight=w), (n, L)",
        "a label at a time: binary_cross_entropy(y[:, l], logits=z[:, l], sample_weight=s[:, l], pos_weight=w[l])",
        multilabel,
        label_at_a_time,
        torch_elements("binary_cross_entropy_with_logits", "z", "y", False, weight="q", pos_weight="w"),
    ),
    Row(
        "torch", "multilabel_soft_margin_loss(z, y)", "binary_cross_entropy(y, logits=z), z (n, L)", multilabel,
        binary_cross_entropy("logits", "y"),
        lambda c: flat(
            tensors(c)[0].multilabel_soft_margin_loss(*(tensors(c)[1][key] for key in "zy"), reduction=how)
            for how in REDUCTIONS
        ),
    ),
    *(
        Row(
            "torch", f"cross_entropy(z, {target}) + {epsilon} * ({share} * (1 - softmax(z))).sum(1)",
            f"poly1_loss({target}, logits=z, epsilon={epsilon})", multiclass,
            none(fx.poly1_loss, target, logits="z", epsilon=epsilon), torch_poly1(target, epsilon),
        )
        for target, share in (("y", "one_hot(y)"), ("q", "q"))
        for epsilon in (1.0, -0.5)
    ),
    *(
        Row(
            "torch", f"kl_div({theirs})", f"kl_divergence({ours}), mean: reduction=\"batchmean\"", with_log_targets,
            lambda c, target=target, named=named: flat(
                fx.kl_divergence(c[target], **given(c, named), reduction=how) for how in ("none", "sum", "mean")
            ),
            torch_divergence(log_target),
        )
        for theirs, ours, target, named, log_target in (
            ("lp, q", "q, probs=p", "q", {"probs": "p"}, False),
            ("lp, lq, log_target=True", "lq, log_probs=lp", "lq", {"log_probs": "lp"}, True),
        )
    ),
    Row(
        "torch", "cross_entropy(z, y), every y ignored", "cross_entropy(y, logits=z, ignore_index=-100)", nothing_left,
        cross_entropy("y", ignore_index=-100), torch_cross_entropy("y", ignore_index=-100),
    ),
    Row(
        "torch", "cross_entropy(z, y, weight=w, label_smoothing=0.1), every y ignored",
        "cross_entropy(y, logits=z, class_weight=w, label_smoothing=0.1, ignore_index=-100)", nothing_left,
        cross_entropy("y", class_weight="w", label_smoothing=0.1, ignore_index=-100),
        torch_cross_entropy("y", weight="w", label_smoothing=0.1),
    ),
    Row(
        "torch", "cross_entropy(z, y), no rows", "cross_entropy(y, logits=z)", empty, cross_entropy("y"),
        torch_cross_entropy("y"),
    ),
    Row(
        "torch", "binary_cross_entropy(p, y), p of 0 and 1", 'binary_cross_entropy(y, probs=p, clip="torch")', certain,
        lambda c: fx.binary_cross_entropy(c["y1"], probs=c["p1"], clip="torch", reduction="none"),
        lambda c: tensors(c)[0].binary_cross_entropy(
            tensors(c)[1]["p1"], tensors(c)[1]["y1"].double(), reduction="none"
        ),
    ),
    Row(
        "torch", "binary_cross_entropy(p, y), p of 0 and 1", "binary_cross_entropy(y, probs=p)", certain,
        lambda c: fx.binary_cross_entropy(c["y1"], probs=c["p1"], reduction="none"),
        lambda c: tensors(c)[0].binary_cross_entropy(
            tensors(c)[1]["p1"], tensors(c)[1]["y1"].double(), reduction="none"
        ),
        reason="torch bounds the logarithm at -100; a target of probability 0 costs +inf unless a clip is named.",
    ),
    Row(
        "torch", 'binary_cross_entropy(p, y, weight=s, reduction="mean")',
        "binary_cross_entropy(y, probs=p, sample_weight=s)", binary,
        lambda c: fx.binary_cross_entropy(c["y"], probs=c["p"], sample_weight=c["s"]),
        lambda c: tensors(c)[0].binary_cross_entropy(
            tensors(c)[1]["p"], tensors(c)[1]["y"].double(), weight=tensors(c)[1]["s"]
        ),
        reason="sample_weight is scikit-learn's word and divides by the sum of weights; torch's weight divides by the "
        'number of elements, which here is reduction="sum" over n.',
    ),
    Row(
        "torch", "cross_entropy(z, q), z = -inf where q = 0", "cross_entropy(q, logits=z)", masked, cross_entropy("q"),
        torch_cross_entropy("q"),
        reason="A class that is masked and that the target does not have adds 0; torch multiplies 0 by infinity.",
    ),
    Row(
        "torch", "cross_entropy(z, q, ignore_index=2)", "cross_entropy(q, logits=z, ignore_index=2)", multiclass,
        lambda c: fx.cross_entropy(np.eye(C)[c["y"]], logits=c["z"], ignore_index=2, reduction="none"),
        lambda c: tensors(c)[0].cross_entropy(
            tensors(c)[1]["z"], tensors({"t": np.eye(C)[c["y"]]})[1]["t"], ignore_index=2, reduction="none"
        ),
        reason="torch refuses; a distribution that is all on the ignored class is that label, so its row is ignored.",
    ),
    Row("torch", "cross_entropy(z, y, weight=w), z (n, C, d)",
        "cross_entropy(y.ravel(), logits=moveaxis(z, 1, -1).reshape(-1, C), class_weight=w)", volume, of_volume,
        torch_cross_entropy("y", weight="w"),
    ),
    Row(
        "torch", "cross_entropy(z, y), z (C,)", "cross_entropy([y], logits=[z])", multiclass,
        lambda c: fx.cross_entropy(c["y"][:1], logits=c["z"][:1]),
        lambda c: tensors(c)[0].cross_entropy(tensors(c)[1]["z"][0], tensors(c)[1]["y"][0]),
    ),
    *(
        Row(
            "torch", f"cross_entropy(z, y), {kind}", f"cross_entropy(y, logits=z), {kind}", multiclass,
            lambda c, kind=kind: fx.cross_entropy(
                c["y"], logits=tensors(c)[1]["z"].to(getattr(importlib.import_module("torch"), kind)), reduction="none"
            ),
            lambda c, kind=kind: tensors(c)[0].cross_entropy(
                tensors(c)[1]["z"].to(getattr(importlib.import_module("torch"), kind)), tensors(c)[1]["y"],
                reduction="none",
            ).double(),
            tolerance,
        )
        for kind, tolerance in (("float16", 1e-3), ("bfloat16", 1e-2))
    ),
    Row(
        "torch", 'kl_div(lp, q, reduction="mean")', "kl_divergence(q, probs=p) / C", multiclass,
        lambda c: fx.kl_divergence(c["q"], probs=c["p"]) / C,
        lambda c: tensors(c)[0].kl_div(tensors(c)[1]["lp"], tensors(c)[1]["q"], reduction="mean"),
    ),
    Row(
        "torch", "multilabel_soft_margin_loss(z, y, weight=w)",
        'a label at a time: w[l] * binary_cross_entropy(y[:, l], logits=z[:, l], reduction="none")', multilabel,
        weighed_labels,
        lambda c: flat(
            tensors(c)[0].multilabel_soft_margin_loss(
                tensors(c)[1]["z"], tensors(c)[1]["y"], weight=tensors(c)[1]["w"], reduction=how
            )
            for how in REDUCTIONS
        ),
    ),
    Row(
        "torch", "kl_div(lp, q), rows of q that do not sum to 1", "kl_divergence(q, probs=p)",
        lambda: multiclass() | {"q": 0.5 * multiclass()["q"]},
        lambda c: fx.kl_divergence(c["q"], probs=c["p"], reduction="sum"),
        lambda c: tensors(c)[0].kl_div(tensors(c)[1]["lp"], tensors(c)[1]["q"], reduction="sum"),
        reason="Ours has the terms p - q of the generalized divergence, which is never negative; they vanish where "
        "both sum to 1.",
    ),
    Row(
        "torch", "nll_loss(lp, y), lp above 0", "cross_entropy(y, log_probs=lp)", beyond,
        lambda c: fx.cross_entropy(c["y"], log_probs=c["lp"]), torch_cross_entropy("y", "lp", "nll_loss"),
        reason="The logarithm of a probability is at most 0: such a row is invalid, an error unless on_invalid says "
        "otherwise; torch takes any number.",
    ),
    Row(
        "torch", "cross_entropy(z, q), q below 0", "cross_entropy(q, logits=z)", beyond,
        lambda c: fx.cross_entropy(c["q"], logits=c["z"]), torch_cross_entropy("q"),
        reason="A target below 0 is no probability, and its row invalid; torch takes any number.",
    ),
    Row(
        "torch", "binary_cross_entropy_with_logits(z, y), y above 1", "binary_cross_entropy(y, logits=z)", beyond,
        lambda c: fx.binary_cross_entropy(c["e"], logits=c["z"][:, 0]),
        lambda c: tensors(c)[0].binary_cross_entropy_with_logits(tensors(c)[1]["z"][:, 0], tensors(c)[1]["e"]),
        reason="The target of an event is a probability, and another number makes its row invalid; torch takes any "
        "number.",
    ),
    Row(
        "torch", "binary_cross_entropy_with_logits(z, y), z of ±inf", "binary_cross_entropy(y, logits=z)",
        lambda: {"z": np.array([np.inf, -np.inf, np.inf, -np.inf]), "y": np.array([1, 0, 0, 1])},
        lambda c: fx.binary_cross_entropy(c["y"], logits=c["z"], reduction="none"),
        lambda c: tensors(c)[0].binary_cross_entropy_with_logits(
            tensors(c)[1]["z"], tensors(c)[1]["y"].double(), reduction="none"
        ),
        reason="An infinite logit is a certain event: the right side costs 0 and the wrong side +inf; torch says NaN.",
    ),
]  # fmt: skip


# --- scikit-learn --------------------------------------------------------------------------------------------


def sklearn_call(name: str, *arrays: str, **options: Any) -> Call:
    """A function of sklearn.metrics; options name arrays of the case, or are values."""

    def call(case: Case) -> Any:
        metrics = importlib.import_module("sklearn.metrics")
        return getattr(metrics, name)(*(case[key] for key in arrays), **given(case, options))

    return call


def probs(**options: Any) -> Call:
    """cross_entropy(y, probs=p, ...)."""

    def call(case: Case) -> Any:
        return fx.cross_entropy(case["y"], probs=case["p"], **given(case, options))

    return call


SKLEARN = [
    Row(
        "scikit-learn", "log_loss(y, p)", "cross_entropy(y, probs=p)", timid, probs(),
        sklearn_call("log_loss", "y", "p"),
    ),
    Row(
        "scikit-learn", "log_loss(y, p, normalize=False)", 'cross_entropy(y, probs=p, reduction="sum")', timid,
        probs(reduction="sum"), sklearn_call("log_loss", "y", "p", normalize=False),
    ),
    Row(
        "scikit-learn", "log_loss(y, p, sample_weight=s)", "cross_entropy(y, probs=p, sample_weight=s)", timid,
        probs(sample_weight="s"), sklearn_call("log_loss", "y", "p", sample_weight="s"),
    ),
    Row(
        "scikit-learn", "log_loss(y, p, sample_weight=s, normalize=False)",
        'cross_entropy(y, probs=p, sample_weight=s, reduction="sum")', timid,
        probs(sample_weight="s", reduction="sum"),
        sklearn_call("log_loss", "y", "p", sample_weight="s", normalize=False),
    ),
    Row(
        "scikit-learn", "log_loss(y, p), p of 0 and 1", 'cross_entropy(y, probs=p, clip="sklearn")', certain,
        probs(clip="sklearn"), sklearn_call("log_loss", "y", "p", labels=[0, 1, 2]),
    ),
    Row(
        "scikit-learn", "log_loss(y, p), p of 0 and 1, float32", 'cross_entropy(y, probs=p, clip="sklearn"), float32',
        single(certain), probs(clip="sklearn"), sklearn_call("log_loss", "y", "p", labels=[0, 1, 2]), SINGLE,
    ),
    Row(
        "scikit-learn", "log_loss(y, p), p of 0 and 1", "cross_entropy(y, probs=p)", certain, probs(),
        sklearn_call("log_loss", "y", "p", labels=[0, 1, 2]),
        reason="scikit-learn clips to the machine epsilon of the type of p; a target of probability 0 costs +inf "
        "unless a clip is named.",
    ),
    Row(
        "scikit-learn", "log_loss(y, p), float16", 'cross_entropy(y, probs=p, clip="sklearn"), float16', half,
        probs(clip="sklearn"), sklearn_call("log_loss", "y", "p"),
        reason="scikit-learn takes logarithms and their mean in float16, which leaves three digits; here the same "
        "numbers are widened first.",
    ),
    Row(
        "scikit-learn", "log_loss(y, p), y binary, p (n,)", "binary_cross_entropy(y, probs=p)", binary,
        lambda c: fx.binary_cross_entropy(c["y"], probs=c["p"]), sklearn_call("log_loss", "y", "p"),
    ),
    Row(
        "scikit-learn", "log_loss(y, p, labels=names), names in any order",
        "cross_entropy(y, probs=p, class_names=names), names in the order of the columns", timid,
        lambda c: fx.cross_entropy([f"class {k}" for k in c["y"]], probs=c["p"], class_names=NAMES),
        lambda c: sklearn_call("log_loss", "t", "p", labels=NAMES[::-1])(
            {"t": np.array([f"class {k}" for k in c["y"]]), "p": c["p"]}
        ),
    ),
    Row(
        "scikit-learn", "log_loss(y, p, labels=names), columns in the order of names",
        "cross_entropy(y, probs=p, class_names=names)", multiclass,
        lambda c: fx.cross_entropy([f"class {C - 1 - k}" for k in c["y"]], probs=c["p"], class_names=NAMES[::-1]),
        lambda c: sklearn_call("log_loss", "t", "p", labels=NAMES[::-1])(
            {"t": np.array([f"class {C - 1 - k}" for k in c["y"]]), "p": c["p"]}
        ),
        reason="scikit-learn takes the columns in sorted order of the labels whatever labels= says; class_names are "
        "the columns' own order.",
    ),
    Row(
        "scikit-learn", "log_loss(y, p), a class that no y has", "cross_entropy(y, probs=p)",
        lambda: {"y": np.zeros(4, np.int64), "p": np.full((4, 3), 1 / 3)}, probs(), sklearn_call("log_loss", "y", "p"),
        reason="scikit-learn raises unless labels= is given; the columns of p say how many classes there are.",
    ),
    Row(
        "scikit-learn", "brier_score_loss(y, p), p (n, C)", "evaluate(probs=p, target=y).brier", multiclass,
        lambda c: fx.evaluate(probs=c["p"], target=c["y"]).brier, sklearn_call("brier_score_loss", "y", "p"),
    ),
    Row(
        "scikit-learn", "brier_score_loss(y, p), y binary",
        'evaluate(probs=p, target=y, task="binary").brier', binary,
        lambda c: fx.evaluate(probs=c["p"], target=c["y"], task="binary").brier,
        sklearn_call("brier_score_loss", "y", "p"),
    ),
    Row(
        "scikit-learn", "top_k_accuracy_score(y, p, k=3)", "evaluate(probs=p, target=y).top_k[3]", multiclass,
        lambda c: fx.evaluate(probs=c["p"], target=c["y"]).top_k[3],
        sklearn_call("top_k_accuracy_score", "y", "p", k=3),
    ),
]  # fmt: skip

NAMES = [f"class {k}" for k in range(C)]


# --- SciPy ---------------------------------------------------------------------------------------------------


def special() -> Any:
    return importlib.import_module("scipy.special")


def picked(case: Case, table: Array) -> Array:
    return table[np.arange(len(table)), case["y"]]


SCIPY = [
    Row(
        "SciPy", "logsumexp(z, axis=1) - z[y]", "cross_entropy(y, logits=z)", multiclass,
        none(fx.cross_entropy, "y", logits="z"),
        lambda c: special().logsumexp(c["z"], axis=1) - picked(c, c["z"]),
    ),
    Row(
        "SciPy", "-log_softmax(z, axis=1)[y]", "cross_entropy(y, logits=z)", multiclass,
        none(fx.cross_entropy, "y", logits="z"),
        lambda c: -picked(c, special().log_softmax(c["z"], axis=1)),
    ),
    Row(
        "SciPy", "-xlogy(q, p).sum(1)", "cross_entropy(q, probs=p)", multiclass, none(fx.cross_entropy, "q", probs="p"),
        lambda c: -special().xlogy(c["q"], c["p"]).sum(axis=1),
    ),
    Row(
        "SciPy", "-log_expit(z), -log_expit(-z)", "binary_cross_entropy(y, logits=z)", binary,
        none(fx.binary_cross_entropy, "y", logits="z"),
        lambda c: -special().log_expit(np.where(c["y"] == 1, c["z"], -c["z"])),
    ),
    Row(
        "SciPy", "entr(p).sum(1)", "entropy(probs=p)", multiclass, none(fx.entropy, probs="p"),
        lambda c: special().entr(c["p"]).sum(axis=1),
    ),
    Row(
        "SciPy", "stats.entropy(p, axis=1, base=2)", "entropy(probs=p, base=2, normalize=True)", lopsided,
        none(fx.entropy, probs="p", base=2, normalize=True),
        lambda c: importlib.import_module("scipy.stats").entropy(c["p"], axis=1, base=2),
    ),
    Row(
        "SciPy", "kl_div(q, p).sum(1)", "kl_divergence(q, probs=p)", lopsided, none(fx.kl_divergence, "q", probs="p"),
        lambda c: special().kl_div(c["q"], c["p"]).sum(axis=1),
    ),
    Row(
        "SciPy", "rel_entr(q, p).sum(1), rows that sum to 1", "kl_divergence(q, probs=p)", multiclass,
        none(fx.kl_divergence, "q", probs="p"), lambda c: special().rel_entr(c["q"], c["p"]).sum(axis=1),
    ),
    Row(
        "SciPy", "rel_entr(q, p).sum(1), rows that do not", "kl_divergence(q, probs=p)", lopsided,
        none(fx.kl_divergence, "q", probs="p"), lambda c: special().rel_entr(c["q"], c["p"]).sum(axis=1),
        reason="The terms of rel_entr may be negative; ours are those of kl_div, which differ by p - q and never are.",
    ),
]  # fmt: skip


# --- optax ---------------------------------------------------------------------------------------------------


def optax_call(name: str, *arrays: str, **options: Any) -> Call:
    def call(case: Case) -> Array:
        jax = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
        losses = importlib.import_module("optax.losses")
        return np.asarray(getattr(losses, name)(*(jax.numpy.asarray(case[key]) for key in arrays), **options))

    return call


def optax_smoothed(case: Case) -> Array:
    one_hot = {"t": np.eye(C)[case["y"]], "z": case["z"]}
    smooth = optax_call("smooth_labels", "t", alpha=0.1)(one_hot)
    return optax_call("softmax_cross_entropy", "z", "t")(one_hot | {"t": smooth})


def optax_where(name: str, *arrays: str) -> Call:
    """The call with classes switched off by its own mask, which keeps logits finite."""

    def call(case: Case) -> Array:
        on = np.isfinite(case["z"])
        return optax_call(name, *arrays, where=on)(case | {"z": np.where(on, case["z"], 0.0)})

    return call


OPTAX = [
    Row(
        "optax", "softmax_cross_entropy(z, q)", "cross_entropy(q, logits=z)", multiclass,
        none(fx.cross_entropy, "q", logits="z"), optax_call("softmax_cross_entropy", "z", "q"),
    ),
    Row(
        "optax", "softmax_cross_entropy_with_integer_labels(z, y)", "cross_entropy(y, logits=z)", multiclass,
        none(fx.cross_entropy, "y", logits="z"), optax_call("softmax_cross_entropy_with_integer_labels", "z", "y"),
    ),
    Row(
        "optax", "softmax_cross_entropy(z, smooth_labels(one_hot(y), 0.1))",
        "cross_entropy(y, logits=z, label_smoothing=0.1)", multiclass,
        none(fx.cross_entropy, "y", logits="z", label_smoothing=0.1), optax_smoothed,
    ),
    Row(
        "optax", "safe_softmax_cross_entropy(z, q), z = -inf where q = 0", "cross_entropy(q, logits=z)", masked,
        none(fx.cross_entropy, "q", logits="z"), optax_call("safe_softmax_cross_entropy", "z", "q"),
    ),
    Row(
        "optax", "softmax_cross_entropy(z, q, where=m)",
        "cross_entropy(q, logits=z), z = -inf where m is false", masked,
        none(fx.cross_entropy, "q", logits="z"), optax_where("softmax_cross_entropy", "z", "q"),
    ),
    Row(
        "optax", "softmax_cross_entropy_with_integer_labels(z, y, where=m)",
        "cross_entropy(y, logits=z), z = -inf where m is false", lambda: masked() | {"y": 1 + np.arange(N) % (C - 1)},
        none(fx.cross_entropy, "y", logits="z"),
        optax_where("softmax_cross_entropy_with_integer_labels", "z", "y"),
    ),
    Row(
        "optax", "softmax_cross_entropy(z, q), z = -inf where q = 0", "cross_entropy(q, logits=z)", masked,
        none(fx.cross_entropy, "q", logits="z"), optax_call("softmax_cross_entropy", "z", "q"),
        reason="A class that is masked and that the target does not have adds 0, as in safe_softmax_cross_entropy; the "
        "plain function says NaN.",
    ),
    Row(
        "optax", "softmax_cross_entropy_with_integer_labels(z, y), y = -100",
        "cross_entropy(y, logits=z, ignore_index=-100)", padded(-100),
        none(fx.cross_entropy, "y", logits="z", ignore_index=-100),
        optax_call("softmax_cross_entropy_with_integer_labels", "z", "y"),
        reason="Labels outside the classes follow the rules of JAX's indexing; here such a row is ignored by name, or "
        "else an error.",
    ),
    Row(
        "optax", "sigmoid_binary_cross_entropy(z, q)", "binary_cross_entropy(q, logits=z)", binary,
        none(fx.binary_cross_entropy, "q", logits="z"), optax_call("sigmoid_binary_cross_entropy", "z", "q"),
    ),
    Row(
        "optax", "sigmoid_focal_loss(z, y, gamma=2)", "focal_loss(y, logits=z, gamma=2)", binary,
        none(fx.focal_loss, "y", logits="z", gamma=2.0), optax_call("sigmoid_focal_loss", "z", "y", gamma=2.0),
    ),
    Row(
        "optax", "sigmoid_focal_loss(z, q, gamma=2)", "focal_loss(q, logits=z, gamma=2)", binary,
        none(fx.focal_loss, "q", logits="z", gamma=2.0), optax_call("sigmoid_focal_loss", "z", "q", gamma=2.0),
    ),
    Row(
        "optax", "sigmoid_focal_loss(z, y, alpha=0.25, gamma=2)",
        "0.75 * focal_loss(y, logits=z, gamma=2, pos_weight=0.25 / 0.75)", binary,
        lambda c: 0.75 * fx.focal_loss(c["y"], logits=c["z"], gamma=2.0, pos_weight=0.25 / 0.75, reduction="none"),
        optax_call("sigmoid_focal_loss", "z", "y", alpha=0.25, gamma=2.0),
    ),
    Row(
        "optax", "sigmoid_focal_loss(z, y, gamma=2).mean(1), z (n, L)",
        'focal_loss(y, logits=z, gamma=2, task="multilabel")', multilabel,
        none(fx.focal_loss, "y", logits="z", gamma=2.0, task="multilabel"),
        lambda c: optax_call("sigmoid_focal_loss", "z", "y", gamma=2.0)(c).mean(axis=1),
    ),
    Row(
        "optax", "convex_kl_divergence(log p, q), rows that do not sum to 1", "kl_divergence(q, probs=p)", lopsided,
        none(fx.kl_divergence, "q", probs="p"),
        lambda c: optax_call("convex_kl_divergence", "lp", "q")({"lp": np.log(c["p"]), "q": c["q"]}),
    ),
    Row(
        "optax", "kl_divergence(lp, q)", "kl_divergence(q, probs=p)", multiclass,
        none(fx.kl_divergence, "q", probs="p"), optax_call("kl_divergence", "lp", "q"),
    ),
    Row(
        "optax", "kl_divergence(log p, q), rows that do not sum to 1", "kl_divergence(q, probs=p)", lopsided,
        none(fx.kl_divergence, "q", probs="p"),
        lambda c: optax_call("kl_divergence", "lp", "q")({"lp": np.log(c["p"]), "q": c["q"]}),
        reason="Without the terms p - q a sum that is not over distributions may be negative; ours never is.",
    ),
]  # fmt: skip


# --- torchmetrics --------------------------------------------------------------------------------------------


def torchmetrics_call(module: str, name: str, *arrays: str, **options: Any) -> Call:
    def call(case: Case) -> float:
        function = getattr(importlib.import_module(f"torchmetrics.functional.{module}"), name)
        t = tensors(case)[1]
        return float(function(*(t[key] for key in arrays), **options))

    return call


def calibration(**options: Any) -> Call:
    return torchmetrics_call(
        "classification", "multiclass_calibration_error", "p", "y", num_classes=C, n_bins=15, **options
    )


def perplexity(ignore_index: int | None = None) -> Call:
    def call(case: Case) -> float:
        shaped = {"z": case["z"][None], "y": case["y"][None]}
        return torchmetrics_call("text", "perplexity", "z", "y", ignore_index=ignore_index)(shaped)

    return call


def hopeless() -> Case:
    """Labels whose probability is below the smallest number."""
    return {"z": np.array([[0.0, 900.0], [0.0, 800.0]]), "y": np.array([0, 1])}


TORCHMETRICS = [
    *(
        Row(
            "torchmetrics", f'multiclass_calibration_error(p, y, n_bins=15, norm="{norm}")',
            f'evaluate(probs=p, target=y, binning="torchmetrics").calibration.{ours}', rounded,
            lambda c, ours=ours: getattr(
                fx.evaluate(probs=c["p"], target=c["y"], binning="torchmetrics").calibration, ours
            ),
            calibration(norm=norm), SINGLE,
        )
        for norm, ours in (("l1", "ece"), ("l2", "rmsce"), ("max", "mce"))
    ),
    Row(
        "torchmetrics", 'multiclass_calibration_error(p, y, n_bins=15, norm="max")',
        "evaluate(probs=p, target=y).calibration.mce", rounded,
        lambda c: fx.evaluate(probs=c["p"], target=c["y"]).calibration.mce, calibration(norm="max"), SINGLE,
        reason="torchmetrics gives a confidence of 1 a bin of its own; here, by default, it belongs to the last one.",
    ),
    *(
        Row(
            "torchmetrics", f'multiclass_accuracy(p, y, top_k={k}, average="micro")',
            f"evaluate(probs=p, target=y).top_k[{k}]", multiclass,
            lambda c, k=k: fx.evaluate(probs=c["p"], target=c["y"]).top_k[k],
            torchmetrics_call(
                "classification", "multiclass_accuracy", "p", "y", num_classes=C, top_k=k, average="micro"
            ),
            SINGLE,
        )
        for k in (1, 3, 5)
    ),
    Row(
        "torchmetrics", "perplexity(z, y)", "evaluate(logits=z, target=y).perplexity", multiclass,
        lambda c: fx.evaluate(logits=c["z"], target=c["y"]).perplexity, perplexity(), SINGLE,
    ),
    Row(
        "torchmetrics", "perplexity(z, y, ignore_index=-100)",
        "evaluate(logits=z, target=y, ignore_index=-100).perplexity",
        padded(-100), lambda c: fx.evaluate(logits=c["z"], target=c["y"], ignore_index=-100).perplexity,
        perplexity(-100), SINGLE,
    ),
    Row(
        "torchmetrics", "perplexity(z, y), probabilities below 1e-308", "evaluate(logits=z, target=y).perplexity",
        hopeless,
        lambda c: fx.evaluate(logits=c["z"], target=c["y"]).perplexity, perplexity(),
        reason="torchmetrics takes the logarithm of a softmax that has underflowed; the loss of logits is finite.",
    ),
    Row(
        "torchmetrics", "binary_accuracy(z, y), all z in [0, 1]",
        'evaluate(logits=z, target=y, task="binary").accuracy',
        lambda: {"z": np.array([0.1, 0.2, 0.9, 0.3]), "y": np.array([1, 1, 1, 0])},
        lambda c: fx.evaluate(logits=c["z"], target=c["y"], task="binary").accuracy,
        torchmetrics_call("classification", "binary_accuracy", "z", "y"),
        reason="torchmetrics takes scores for probabilities if all of a call lie in [0, 1]; here the keyword says what "
        "they are.",
    ),
]  # fmt: skip


# --- Keras ---------------------------------------------------------------------------------------------------


def keras_loss(name: str, target: str, scores: str, weight: str | None = None, **options: Any) -> Call:
    """A loss class of Keras, in float64."""

    def call(case: Case) -> float:
        keras = importlib.import_module("keras")
        loss = getattr(keras.losses, name)(dtype="float64", **options)
        y, p = case[target], case[scores]
        if p.ndim == 1:
            y, p = y[:, None], p[:, None]
        return float(loss(y, p, sample_weight=None if weight is None else case[weight]))

    return call


def keras_metric(name: str, target: str, scores: str, weight: str | None = None, **options: Any) -> Call:
    """A metric class of Keras; its state is float32 unless told otherwise."""

    def call(case: Case) -> float:
        keras = importlib.import_module("keras")
        metric = getattr(keras.metrics, name)(dtype="float64", **options)
        metric.update_state(case[target], case[scores], None if weight is None else case[weight])
        return float(metric.result())

    return call


def mean_of(function: Callable[..., Any], target: str, per_row: bool = False, **options: Any) -> Call:
    """Our mean, or with ``per_row`` the (weighted) sum over the number of rows."""

    def call(case: Case) -> float:
        if per_row:
            return function(case[target], **given(case, options), reduction="sum") / len(case[target])
        return function(case[target], **given(case, options))

    return call


def one_hot(make: Callable[[], Case]) -> Callable[[], Case]:
    def with_matrix() -> Case:
        case = make()
        return case | {"t": np.eye(case["p"].shape[1])[case["y"]]}

    return with_matrix


KERAS = [
    Row(
        "Keras", "CategoricalCrossentropy()(t, p), p of 0 and 1",
        'cross_entropy(t, probs=p, normalize=True, clip="keras")', one_hot(certain),
        mean_of(fx.cross_entropy, "t", probs="p", normalize=True, clip="keras"),
        keras_loss("CategoricalCrossentropy", "t", "p"),
    ),
    Row(
        "Keras", "CategoricalCrossentropy()(q, p), rows of p that do not sum to 1",
        'cross_entropy(q, probs=p, normalize=True, clip="keras")', lopsided,
        mean_of(fx.cross_entropy, "q", probs="p", normalize=True, clip="keras"),
        keras_loss("CategoricalCrossentropy", "q", "p"),
    ),
    Row(
        "Keras", "CategoricalCrossentropy(label_smoothing=0.1, from_logits=True)(t, z)",
        "cross_entropy(t, logits=z, label_smoothing=0.1)", one_hot(multiclass),
        mean_of(fx.cross_entropy, "t", logits="z", label_smoothing=0.1),
        keras_loss("CategoricalCrossentropy", "t", "z", label_smoothing=0.1, from_logits=True),
    ),
    Row(
        "Keras", "SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)(y, z)",
        "cross_entropy(y, logits=z, ignore_index=2)", padded(2),
        mean_of(fx.cross_entropy, "y", logits="z", ignore_index=2),
        keras_loss("SparseCategoricalCrossentropy", "y", "z", from_logits=True, ignore_class=2),
    ),
    Row(
        "Keras", "SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)(y, z), every y ignored",
        "cross_entropy(y, logits=z, ignore_index=-100)", nothing_left,
        mean_of(fx.cross_entropy, "y", logits="z", ignore_index=-100),
        keras_loss("SparseCategoricalCrossentropy", "y", "z", from_logits=True, ignore_class=-100),
        reason="The mean of nothing is NaN here and in torch; Keras divides 0 by 0 into 0.",
    ),
    Row(
        "Keras", "BinaryCrossentropy()(y, p), p of 0 and 1", 'binary_cross_entropy(y, probs=p, clip="keras")', certain,
        mean_of(fx.binary_cross_entropy, "y1", probs="p1", clip="keras"), keras_loss("BinaryCrossentropy", "y1", "p1"),
    ),
    Row(
        "Keras", "BinaryCrossentropy(label_smoothing=0.1, from_logits=True)(y, z)",
        "binary_cross_entropy(y, logits=z, label_smoothing=0.1)", binary,
        mean_of(fx.binary_cross_entropy, "y", logits="z", label_smoothing=0.1),
        keras_loss("BinaryCrossentropy", "y", "z", from_logits=True, label_smoothing=0.1),
    ),
    Row(
        "Keras", "SparseCategoricalCrossentropy(from_logits=True)(y, z, sample_weight=s)",
        'cross_entropy(y, logits=z, sample_weight=s, reduction="sum") / n', multiclass,
        mean_of(fx.cross_entropy, "y", per_row=True, logits="z", sample_weight="s"),
        keras_loss("SparseCategoricalCrossentropy", "y", "z", "s", from_logits=True),
    ),
    Row(
        "Keras", "the same loss", "cross_entropy(y, logits=z, sample_weight=s)", multiclass,
        mean_of(fx.cross_entropy, "y", logits="z", sample_weight="s"),
        keras_loss("SparseCategoricalCrossentropy", "y", "z", "s", from_logits=True),
        reason="Losses of Keras divide the weighted sum by the number of rows and its metrics by the sum of weights; "
        "the mean here is that of the metrics.",
    ),
    Row(
        "Keras", 'the same loss, reduction="mean_with_sample_weight"', "cross_entropy(y, logits=z, sample_weight=s)",
        multiclass, mean_of(fx.cross_entropy, "y", logits="z", sample_weight="s"),
        keras_loss(
            "SparseCategoricalCrossentropy", "y", "z", "s", from_logits=True, reduction="mean_with_sample_weight"
        ),
    ),
    Row(
        "Keras", "metrics.SparseCategoricalCrossentropy(from_logits=True), with sample_weight",
        "cross_entropy(y, logits=z, sample_weight=s)", multiclass,
        mean_of(fx.cross_entropy, "y", logits="z", sample_weight="s"),
        keras_metric("SparseCategoricalCrossentropy", "y", "z", "s", from_logits=True),
    ),
    Row(
        "Keras", "CategoricalFocalCrossentropy(alpha=1, gamma=2)(t, p)", "focal_loss(y, probs=p, gamma=2)",
        lambda: one_hot(lambda: {"p": softmax(multiclass()["z"] / 15), "y": multiclass()["y"]})(),
        mean_of(fx.focal_loss, "y", probs="p", gamma=2.0),
        keras_loss("CategoricalFocalCrossentropy", "t", "p", alpha=1.0, gamma=2.0),
    ),
    Row(
        "Keras", "CategoricalFocalCrossentropy(alpha=1, gamma=2, label_smoothing=0.1)(q, p)",
        "focal_loss(q, probs=p, gamma=2, label_smoothing=0.1)", timid,
        mean_of(fx.focal_loss, "q", probs="p", gamma=2.0, label_smoothing=0.1),
        keras_loss("CategoricalFocalCrossentropy", "q", "p", alpha=1.0, gamma=2.0, label_smoothing=0.1),
    ),
    Row(
        "Keras", "BinaryFocalCrossentropy(gamma=2, from_logits=True, label_smoothing=0.1)(y, z)",
        "focal_loss(y, logits=z, gamma=2, label_smoothing=0.1)", lambda: binary() | {"z": binary()["z"] / 15},
        mean_of(fx.focal_loss, "y", logits="z", gamma=2.0, label_smoothing=0.1),
        keras_loss("BinaryFocalCrossentropy", "y", "z", gamma=2.0, from_logits=True, label_smoothing=0.1),
    ),
    Row(
        "Keras", "KLDivergence()(q, p)", "kl_divergence(q, probs=p)", timid,
        mean_of(fx.kl_divergence, "q", probs="p"), keras_loss("KLDivergence", "q", "p"),
    ),
]  # fmt: skip

#: Keras computes in float32.
KERAS = [replace(row, tolerance=SINGLE) for row in KERAS]

ROWS = TORCH + SKLEARN + SCIPY + OPTAX + TORCHMETRICS + KERAS


# --- the document --------------------------------------------------------------------------------------------

INTRODUCTION = """# Parity

Which of our keywords is which option of another library, and the largest difference between the two results: of every
number compared, |ours - theirs| / max(1, |theirs|). Losses of torch are compared in all reductions at once: `mean`,
`sum` and `none`. Data is float64 unless a row says otherwise; scores are z (logits), p (probabilities) and lp (log p),
targets y (labels), t (one-hot) and q (distributions, or probabilities of single events), w class weights, s sample
weights. Keras computes in float32, with its torch backend. Where results differ on purpose, the last column says why.

`python -m tests.parity` writes this file, and `tests/test_parity.py` asserts every row of it.
"""


def shown(off: float | str) -> str:
    if isinstance(off, str):
        return off
    return "0" if off == 0 else "inf or NaN" if off == np.inf else f"{off:.1e}"


def document() -> str:
    """docs/parity.md."""
    parts = [INTRODUCTION]
    for peer, (module, distribution) in PEERS.items():
        try:
            importlib.import_module(module)
        except ImportError:
            parts.append(f"## {peer}\n\nnot installed here\n")
            continue
        parts.append(f"## {peer} {importlib.metadata.version(distribution)}\n")
        parts.append("| theirs | ours | largest difference | why |\n|---|---|---|---|")
        for row in ROWS:
            if row.peer == peer:
                parts.append(f"| `{row.option}` | `{row.ours}` | {shown(row.measure())} | {row.reason} |")
        parts.append("")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "numba"))
    parts.append(f"Measured with {versions} and Python {platform.python_version()}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("docs", "parity.md").write_text(document(), encoding="utf-8")
