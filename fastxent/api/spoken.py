"""Calls that Python refuses, answered with the sentence that helps; another library's word for a weight is taken."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, ParamSpec, TypeVar

__all__ = ["FORMER", "spoken"]

P = ParamSpec("P")
R = TypeVar("R")

#: Words that are taken as they are.
_SYNONYMS = {"sample_weight": "weight"}
#: Keywords that were renamed: what they were called, and the word that took their place. They are taken for a minor
#: release, with a DeprecationWarning, and then go.
FORMER: dict[str, str] = {}
#: Words of other libraries, and ours.
_WORDS = {
    "y_true": "target", "y": "target", "y_test": "target", "targets": "target", "true": "target", "truth": "target",
    "label": "target", "weights": "weight", "sample_weights": "weight", "n_classes": "num_classes",
    "groups": "group_by", "by": "group_by", "groupby": "group_by", "cluster": "cluster_by", "clusters": "cluster_by",
    "n_bins": "bins", "k": "top_k", "topk": "top_k", "n_jobs": "threads", "workers": "threads",
    "num_threads": "threads", "eps": "clip", "alpha": "class_weight", "id": "on",
}  # fmt: skip
#: Words for predictions that do not say what these are.
_PREDICTIONS = (
    "y_pred", "y_prob", "y_proba", "y_score", "pred", "preds", "prediction", "predictions", "input", "inputs",
    "output", "outputs", "scores", "proba", "prob", "p", "q", "z",
)  # fmt: skip


def spoken(function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose errors about its arguments say what to write instead, and which takes `_SYNONYMS`."""

    @functools.wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> R:
        try:
            return function(*args, **keywords)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # it was called
        named, given = _ours(function, dict(keywords)), inspect.signature(function)
        try:
            given.bind(*args, **named)
        except TypeError as error:
            raise TypeError(_advice(function, given, len(args), named) or str(error)) from None
        return function(*args, **named)

    return call


def _ours(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """Keywords in our words."""
    for other, own in (_SYNONYMS | FORMER).items():
        if other in keywords and own in inspect.signature(function).parameters:
            if own in keywords:
                raise TypeError(f"{_name(function)}: {other} is another word for {own}; give one of them")
            if other in FORMER:
                warnings.warn(
                    f"{_name(function)}: {other} is now called {own}; the next minor release refuses the old name",
                    DeprecationWarning,
                    stacklevel=3,
                )
            keywords[own] = keywords.pop(other)
    return keywords


def _advice(function: Callable[..., Any], signature: inspect.Signature, places: int, keywords: dict[str, Any]) -> str:
    """What to write instead of arguments that the function does not have; empty where nothing is known."""
    name, parameters = _name(function), signature.parameters
    free = [each.name for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    if free[:1] == ["self"]:
        free, places = free[1:], places - 1
    has_form = "logits" in parameters
    if places > len(free):
        said = f"{name} takes {' and '.join(free) or 'nothing'} by position, and got {places} values"
        if not has_form:
            return f"{said}; the rest goes by name"
        example = ", ".join(["y"] if "target" in free else []) + ", " * ("target" in free)
        return (
            f"{said}; predictions go by the name of what they are: {name}({example}logits=z), or probs= or log_probs="
        )
    for word in keywords:
        if word in parameters:
            continue
        if has_form and word in _PREDICTIONS:
            return f"{name} has no {word}; predictions go by the name of what they are: logits=, probs= or log_probs="
        own = _WORDS.get(word)
        close = [own] if own in parameters else get_close_matches(word, parameters, 3)
        known = f"; did you mean {' or '.join(f'{each}=' for each in close)}?" if close else f"; see help({name})"
        return f"{name} has no keyword {word!r}{known}"
    missing = [each for each in free if parameters[each].default is inspect.Parameter.empty and each not in keywords]
    return f"{name}: {' and '.join(missing[places:])} is missing" if missing[places:] else ""


def _name(function: Callable[..., Any]) -> str:
    """What the function is called: a class for its constructor."""
    return function.__qualname__.removesuffix(".__init__")
