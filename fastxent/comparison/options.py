"""How the rows of two sides are paired, and what is asked of the pairs: the definition of these keywords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastxent.base.option import option

__all__ = ["Pairing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Two sets of predictions of the same rows, as `fastxent.compare` takes them."""

    on: str | Sequence[str] | None = option(
        None,
        "column, or columns, whose values name a row.",
        reads="columns",
        brief="Column of ids by which rows are paired; or several columns.",
    )
    by_order: bool = option(
        False,
        "pair the first row with the first, and so on; arrays always are.",
        brief="Pair the first row with the first, and so on.",
    )
    b_logits: Any = option(
        None,
        "column of the second set, where it has another name or form; likewise ``b_probs``, ``b_log_probs``, "
        "``b_losses`` and ``b_target_log_probs``.",
        reads="scores",
        brief="Logits of B, where they are not named as those of A.",
    )
    b_probs: Any = option(None, "see ``b_logits``.", reads="scores", brief="The same for probabilities.")
    b_log_probs: Any = option(None, "see ``b_logits``.", reads="scores", brief="The same for log-probabilities.")
    b_losses: Any = option(None, "see ``b_logits``.", reads="column", brief="Losses of B, likewise.")
    b_target_log_probs: Any = option(
        None, "see ``b_logits``.", reads="column", brief="Log-probabilities of B's targets, likewise."
    )
    b_target: Any = option(
        None,
        "column with the targets of the second set, where it has another name.",
        reads="column",
        brief="Targets of B, where they have another name.",
    )
    group_by: str | Sequence[str] = option(
        (),
        "columns of ``a``: the comparison is also made for each of their values.",
        reads="columns",
        brief="Columns of A: compare for each of their values as well.",
    )
    cluster_by: str | None = option(
        None,
        "column of ``a`` that says which rows belong together (a document, a user); standard errors are then those of "
        "clusters.",
        reads="column",
        brief="Column of A: rows that belong together, for standard errors.",
    )
    k: int = option(
        10,
        "how many of the rows that changed most are kept, each way.",
        least=0,
        flag="--changed",
        brief="How many rows that changed most are named.",
    )
    permutations: int = option(
        0,
        "so many replicates of a sign-flip permutation test of the loss difference (of clusters, with ``cluster_by``): "
        "a p-value that assumes no distribution, for all rows and for every group. 9999 is usual; 0 makes no test.",
        least=0,
        metavar="N",
        brief="Replicates of a sign-flip permutation test; 9999 is usual.",
    )
    seed: int = option(0, "of the signs of that test.", least=0, brief="Of the signs of that test.")
