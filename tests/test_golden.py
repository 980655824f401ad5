"""The same bits as in the golden files, which `golden` makes and describes."""

from __future__ import annotations

import pytest

from tests import golden

KEPT = golden.kept()
SHOWN = 12


@pytest.mark.parametrize(("case", "section"), [(case, section) for case in KEPT for section in KEPT[case]])
def test_section_is_as_it_was(case: str, section: str) -> None:
    found = golden.found(case).get(section, {})
    moved = golden.differences(KEPT[case][section], found)
    more = f"\n... and {len(moved) - SHOWN} more" if len(moved) > SHOWN else ""
    assert not moved, f"{case}: {section}: {len(moved)} of {len(KEPT[case][section])} values moved\n" + (
        "\n".join(moved[:SHOWN]) + more
    )


@pytest.mark.parametrize("case", list(golden.CASES))
def test_nothing_is_there_that_files_do_not_hold(case: str) -> None:
    """A new column, say: everything else is compared without it, and then files are made anew."""
    kept = KEPT.get(case, {})
    new = [f"{section}: {key}" for section, values in golden.found(case).items()
           for key in values if key not in kept.get(section, {})]  # fmt: skip
    assert not new, f"{case}: not in the golden file (python -m tests.golden --write)\n" + "\n".join(new[:SHOWN])


def test_every_file_has_its_cases() -> None:
    assert set(KEPT) == set(golden.CASES)


def test_differences_tell_what_is_another_value() -> None:
    was = {"a": 1, "b": 0.0, "c": float("nan"), "d": {"near": [1.0, None], "count": 2}, "e": "3 int64 ab [1, ...]"}
    assert golden.differences(was, was | {"new": 1, "d": {"near": [1.0 + 1e-15, None], "count": 2}}) == []
    for other in (
        {"a": 1.0}, {"b": -0.0}, {"c": None}, {"d": {"near": [1.0 + 1e-9, None], "count": 2}},
        {"d": {"near": [1.0, None], "count": 3}}, {"e": "3 int64 ac [1, ...]"},
    ):  # fmt: skip
        (told,) = golden.differences(was, was | other)
        assert "was" in told
        assert "is " in told
    assert len(golden.differences(was, {})) == len(was)


def test_digests_tell_every_bit_of_a_long_column() -> None:
    column = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    digests = {golden.digest(column), golden.digest([*column[:5], 5.500000000000001]), golden.digest([*column, 6.5]),
               golden.digest([*column[:5], None]), golden.digest(list(map(int, column)))}  # fmt: skip
    assert len(digests) == 5
