"""Words in the names of columns: which of them are of scores, and which form of scores they tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

from fastxent.data.spec import Form

__all__ = ["SCORE_WORDS", "form_of", "words"]

FORM_WORDS = {
    "logit": "logits", "logits": "logits", "rawprediction": "logits", "prob": "probs", "probs": "probs",
    "proba": "probs", "probas": "probs", "probability": "probs", "probabilities": "probs", "logprob": "log_probs",
    "logprobs": "log_probs",
}  # fmt: skip
SCORE_WORDS = frozenset((*FORM_WORDS, "score", "scores", "pred", "preds", "prediction", "predictions", "p"))


def words(name: str) -> set[str]:
    """The words of a name, in small letters, and the name itself."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return {word for word in re.split(r"[^a-z]+", spaced.lower()) if word} | {name.lower()}


def form_of(names: Iterable[str]) -> Form | None:
    """The one form that names tell, if any does."""
    forms = set()
    for found in map(words, names):
        said = {FORM_WORDS[word] for word in found if word in FORM_WORDS}
        forms |= {"log_probs"} if "log" in found and said == {"probs"} else said
    return cast(Form, forms.pop()) if len(forms) == 1 else None
