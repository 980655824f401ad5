"""The fate of a row: scored, ignored, or invalid and why.

A status is one byte a row. Sources set it for rows that cannot be scored whatever the numbers say
(a null, a ragged list); row kernels set it for what the numbers themselves show. Everything that
counts, reports or raises reads the table below, so a cause is described in one place only.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXPLANATION", "FIRST_INVALID", "Status"]


class Status(IntEnum):
    """Why a row counts, is ignored, weighs nothing, or is invalid; invalid ones start at `FIRST_INVALID`.

    A row of weight 0 is valid and has a loss, and is in no statistic.
    """

    SCORED = 0
    IGNORED = 1
    ZERO_WEIGHT = 2
    NULL_PREDICTION = 3
    NULL_TARGET = 4
    RAGGED_ROW = 5
    UNKNOWN_LABEL = 6
    LABEL_OUT_OF_RANGE = 7
    NAN_PREDICTION = 8
    INFINITE_LOGIT = 9
    ALL_MASKED = 10
    PROBABILITY_OUT_OF_RANGE = 11
    INVALID_TARGET = 12
    INVALID_WEIGHT = 13
    ZERO_MASS = 14


FIRST_INVALID = Status.NULL_PREDICTION

#: cause -> (what is wrong, what to do)
EXPLANATION: dict[Status, tuple[str, str]] = {
    Status.NULL_PREDICTION: (
        "the prediction is null or contains a null",
        "fill or filter the nulls, or pass on_invalid='skip' to count such rows and go on",
    ),
    Status.NULL_TARGET: (
        "the target is null",
        "filter unlabeled rows, or pass on_invalid='skip' to count them and go on",
    ),
    Status.RAGGED_ROW: (
        "the prediction has another number of classes than the rest, or stores one twice, or what is no class",
        "every row needs one score for each class",
    ),
    Status.UNKNOWN_LABEL: (
        "the label is none of the class names (or of labels)",
        "pass class_names (or labels) in the order of the scores, with every label that occurs",
    ),
    Status.LABEL_OUT_OF_RANGE: (
        "the label lies outside the classes",
        "labels count from 0 to the number of classes less one; pass ignore_index for a padding label",
    ),
    Status.NAN_PREDICTION: (
        "the prediction contains NaN",
        "look at the model's output; on_invalid='skip' counts such rows and goes on",
    ),
    Status.INFINITE_LOGIT: (
        "a logit is +inf",
        "a softmax with an infinite logit is undefined; on_invalid='skip' counts such rows and goes on",
    ),
    Status.ALL_MASKED: (
        "every logit is -inf",
        "a row needs at least one finite logit; on_invalid='skip' counts such rows and goes on",
    ),
    Status.PROBABILITY_OUT_OF_RANGE: (
        "a probability lies outside [0, 1]",
        "if these are logits or log-probabilities, name them so (logits=, log_probs=)",
    ),
    Status.INVALID_TARGET: (
        "the target is NaN, negative, or not a probability",
        "soft targets are numbers in [0, 1]",
    ),
    Status.INVALID_WEIGHT: (
        "the sample weight is negative, NaN or infinite (or, times the class weight, beyond 2^1280)",
        "weights are finite numbers of at least 0",
    ),
    Status.ZERO_MASS: (
        "the probabilities sum to 0, so they cannot be normalized",
        "leave normalize off, or look at the model's output",
    ),
}
