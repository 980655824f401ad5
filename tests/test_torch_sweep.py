"""Every combination of options that torch accepts, through every door: arrays, evaluate, score and the shell.

The options by themselves, and where we differ on purpose, are rows of `parity`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import fastxent as fx
from tests.parity import DOUBLE, difference, multiclass, multilabel
from tests.parity import binary as events
from tests.shell import run

torch = pytest.importorskip("torch")
functional = torch.nn.functional

Array = NDArray[Any]
FUNCTIONS = {
    "cross_entropy": fx.cross_entropy,
    "binary": fx.binary_cross_entropy,
    "kl_divergence": fx.kl_divergence,
}


@dataclass
class Trial:
    """One call of torch, and the same in our words.

    Attributes:
        name: the call, for people.
        function: key of `FUNCTIONS`.
        theirs: torch's function, of a reduction.
        scores: our predictions and what they are.
        target: our targets.
        options: what both evaluate and the function of arrays take.
        weight: sample weights; then torch's mean divides by the count.
        count: by what torch's mean of everything divides, where that is no mean of ours; 0 if it is.
    """

    name: str
    function: str
    theirs: Any
    scores: dict[str, Array]
    target: Array
    options: dict[str, Any] = field(default_factory=dict)
    weight: Array | None = None
    count: int = 0

    def expected(self) -> tuple[float, float, Array]:
        """Torch's mean, sum and losses of rows, all its own reductions."""
        mean, total, rows = (self.theirs(how).numpy() for how in ("mean", "sum", "none"))
        return float(mean), float(total), rows

    @property
    def of_evaluate(self) -> dict[str, Any]:
        """The keywords of evaluate and score, but for arrays."""
        if self.function == "binary":
            return self.options | {"task": "multilabel" if self.target.ndim == 2 else "binary"}
        return self.options | {"loss": self.function}


def through_arrays(trial: Trial) -> tuple[float, float, Array]:
    more = {} if trial.weight is None else {"sample_weight": trial.weight}
    function = FUNCTIONS[trial.function]
    mean, total, rows = (
        function(trial.target, **trial.scores, **trial.options, **more, reduction=how)
        for how in ("mean", "sum", "none")
    )
    return mean, total, rows


def through_evaluate(trial: Trial) -> tuple[float, float, Array]:
    found = fx.evaluate(target=trial.target, **trial.scores, **trial.of_evaluate, weight=trial.weight)
    assert found.loss_stats is not None
    return found.loss, found.loss_stats.sum, np.zeros(0)


def rows_of(path: Path, trial: Trial) -> Array:
    """The losses of an output as torch gives them: 0 where the row is ignored, times the weights."""
    written = pq.read_table(path)
    losses = np.where(np.array(written["status"].to_pylist()) == "ignored", 0.0, written["loss"].to_numpy())
    return losses if trial.weight is None else losses * trial.weight


def through_score(trial: Trial, folder: Path) -> tuple[float, float, Array]:
    path = folder / "rows.parquet"
    found = fx.score(None, path, target=trial.target, **trial.scores, **trial.of_evaluate, weight=trial.weight)
    assert found.loss_stats is not None
    return found.loss, found.loss_stats.sum, rows_of(path, trial)


def through_the_shell(trial: Trial, folder: Path) -> tuple[float, float, Array]:
    arrays = trial.scores | {"target": trial.target} | ({} if trial.weight is None else {"weight": trial.weight})
    words = []
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
        words.append(f"--{name.replace('_', '-')}={folder / name}.npy")
    for name, value in trial.of_evaluate.items():
        text = ",".join(map(repr, value)) if isinstance(value, list) else value
        words.append(f"--{name.replace('_', '-')}={text}")
    done = run("score", "-o", folder / "shell.parquet", *words, "--json=-")
    assert done.exit_code in (0, 3), done.output  # 3: nothing was left to score
    loss = json.loads(done.stdout)["loss"]
    return float(loss["mean"]), float(loss["sum"]), rows_of(folder / "shell.parquet", trial)


def tensor(values: Any) -> Any:
    return torch.from_numpy(np.asarray(values))


def hard() -> Iterator[Trial]:
    case = multiclass()
    heavy = {"none": None, "some": case["w"], "zeros": np.where(np.arange(7) % 3 == 1, 0.0, case["w"])}
    for (named, w), ignore, smoothing in itertools.product(heavy.items(), (None, -100, 2), (0.0, 0.1, 1.0)):
        y = case["y"].copy()
        if ignore == -100:
            y[::3] = ignore
        theirs: dict[str, Any] = {} if w is None else {"weight": tensor(w)}
        ours: dict[str, Any] = {} if w is None else {"class_weight": w.tolist()}
        if ignore is not None:
            theirs["ignore_index"] = ours["ignore_index"] = ignore
        if not smoothing:
            yield Trial(
                f"nll_loss, weight {named}, ignore_index {ignore}",
                "cross_entropy",
                lambda how, y=y, t=theirs: functional.nll_loss(tensor(case["lp"]), tensor(y), reduction=how, **t),
                {"log_probs": case["lp"]}, y, ours,
            )  # fmt: skip
        else:
            theirs, ours = theirs | {"label_smoothing": smoothing}, ours | {"label_smoothing": smoothing}
        yield Trial(
            f"cross_entropy, weight {named}, ignore_index {ignore}, label_smoothing {smoothing}",
            "cross_entropy",
            lambda how, y=y, t=theirs: functional.cross_entropy(tensor(case["z"]), tensor(y), reduction=how, **t),
            {"logits": case["z"]}, y, ours,
        )  # fmt: skip


def soft() -> Iterator[Trial]:
    case = multiclass()
    targets = {"shares": case["q"], "one-hot": np.eye(7)[case["y"]], "sums of 0.6": 0.6 * case["q"]}
    for (named, q), w, smoothing in itertools.product(targets.items(), (None, case["w"]), (0.0, 0.1, 1.0)):
        theirs: dict[str, Any] = {} if w is None else {"weight": tensor(w)}
        ours: dict[str, Any] = {} if w is None else {"class_weight": w.tolist()}
        if smoothing:
            theirs["label_smoothing"] = ours["label_smoothing"] = smoothing
        yield Trial(
            f"cross_entropy of {named}, weight {w is not None}, label_smoothing {smoothing}",
            "cross_entropy",
            lambda how, q=q, t=theirs: functional.cross_entropy(tensor(case["z"]), tensor(q), reduction=how, **t),
            {"logits": case["z"]}, q, ours,
        )  # fmt: skip


def single_events() -> Iterator[Trial]:
    case = events()
    for form, target, weight, positive in itertools.product("zp", "yq", (None, "s"), (None, 3.0)):
        if form == "p" and positive is not None:
            continue
        function = functional.binary_cross_entropy_with_logits if form == "z" else functional.binary_cross_entropy
        theirs: dict[str, Any] = {} if weight is None else {"weight": tensor(case["s"])}
        if positive is not None:
            theirs["pos_weight"] = torch.tensor(positive, dtype=torch.float64)
        yield Trial(
            f"{function.__name__}({form}, {target}), weight {weight}, pos_weight {positive}",
            "binary",
            lambda how, f=function, x=form, y=target, t=theirs: f(
                tensor(case[x]), tensor(case[y]).double(), reduction=how, **t
            ),
            {"logits" if form == "z" else "probs": case[form]}, case[target],
            {} if positive is None else {"pos_weight": positive},
            None if weight is None else case["s"],
            0 if weight is None else len(case["z"]),
        )  # fmt: skip


def by_row(call: Any) -> Any:
    """Losses of elements as means by row."""

    def reduced(how: str) -> Any:
        return call(how).mean(dim=1) if how == "none" else call(how) / 7 if how == "sum" else call(how)

    return reduced


def several_events() -> Iterator[Trial]:
    case = multilabel()
    for form, target, positive in itertools.product("zp", "yq", (None, "w")):
        if form == "p" and positive is not None:
            continue
        function = functional.binary_cross_entropy_with_logits if form == "z" else functional.binary_cross_entropy
        theirs: dict[str, Any] = {} if positive is None else {"pos_weight": tensor(case["w"])}
        yield Trial(
            f"{function.__name__}({form}, {target}), (n, L), pos_weight {positive}",
            "binary",
            by_row(lambda how, f=function, x=form, y=target, t=theirs: f(
                tensor(case[x]), tensor(case[y]).double(), reduction=how, **t
            )),
            {"logits" if form == "z" else "probs": case[form]}, case[target],
            {} if positive is None else {"pos_weight": case["w"].tolist()},
        )  # fmt: skip
    yield Trial(
        "multilabel_soft_margin_loss", "binary",
        lambda how: functional.multilabel_soft_margin_loss(tensor(case["z"]), tensor(case["y"]), reduction=how),
        {"logits": case["z"]}, case["y"],
    )  # fmt: skip


def divergences() -> Iterator[Trial]:
    case = multiclass()

    def theirs(how: str, log_target: bool) -> Any:
        target = tensor(np.log(case["q"]) if log_target else case["q"])
        of = {"mean": "batchmean"}.get(how, how)
        found = functional.kl_div(tensor(case["lp"]), target, reduction=of, log_target=log_target)
        return found.sum(dim=1) if how == "none" else found

    probs, logs = {"probs": case["p"]}, {"log_probs": case["lp"]}
    yield Trial("kl_div", "kl_divergence", lambda how: theirs(how, False), probs, case["q"])
    yield Trial("kl_div, log_target", "kl_divergence", lambda how: theirs(how, True), logs, np.log(case["q"]))


TRIALS = [*hard(), *soft(), *single_events(), *several_events(), *divergences()]


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_every_door_gives_the_numbers_of_torch(trial: Trial, tmp_path: Path) -> None:
    mean, total, rows = trial.expected()
    ours = through_arrays(trial)
    bits = [np.float64(value).tobytes() for value in ours]
    assert difference(ours[2], rows) <= DOUBLE
    assert difference(ours[1], total) <= DOUBLE
    assert difference(ours[1] / trial.count if trial.count else ours[0], mean) <= DOUBLE
    # The other doors give the bits of the first.
    for found in (through_evaluate(trial), through_score(trial, tmp_path), through_the_shell(trial, tmp_path)):
        assert [np.float64(value).tobytes() for value in found[:2]] == bits[:2]
        if found[2].size:
            np.testing.assert_array_equal(found[2], ours[2])
