"""A small part of the random rows of `sweep`: every loss and form, within the ulp that are promised."""

from __future__ import annotations

import itertools

import pytest

from tests.sweep import COMBINATIONS, Miss, sweep

#: Every combination in one type, to spare time; which type it is makes no difference to most of the arithmetic.
PAIRS = list(zip([each.name for each in COMBINATIONS], itertools.cycle(["float32", "float64"])))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_rows_of_every_kind(name: str, kind: str) -> None:
    found = list(sweep(0, (kind,), (1, 3, 33), {name}))
    assert [each for each in found if isinstance(each, Miss)] == []
    assert len(found) in (2, 3)


#: Beyond one span of classes, whose sums are added by another rule; each in the types that the rows above leave out.
MANY = [("labels", "float16"), ("labels, smoothed", "bfloat16"), ("shares, all", "float16"), ("entropy", "bfloat16"),
        ("divergence", "float32"), ("focal 2", "float32")]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), MANY)
def test_rows_of_many_classes(name: str, kind: str) -> None:
    found = list(sweep(1, (kind,), (1031,), {name}))
    assert [each for each in found if isinstance(each, Miss)] == []
    assert len(found) == 3
