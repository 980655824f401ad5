"""Gates: the small language of --fail-if, and what it sees."""

from __future__ import annotations

import math
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastxent import UsageError
from fastxent.results.gates import Gate, _quoted, failures, parse_gate

RESULT = {
    "loss": {"mean": 0.25, "ci95": [0.2, 0.3], "quantiles": {"0.5": 0.1}},
    "perplexity": math.nan,
    "accuracy": {"top1": 0.9, "top5": 0.99},
    "per_class": [{"name": "cat", "recall": 0.8}, {"name": "St. Bernard", "recall": 1.0}],
    "groups": {"country": {"DE": {"loss": 0.5, "accuracy": {"top1": 0.7}}, "a b": {"accuracy": 1.0}}},
    "classes": [{"class": "0", "loss": 0.1}, {"class": "1", "loss": 0.2}],
    "slices": [
        {"country": "DE", "year": 1, "count": 3, "accuracy": 0.7},
        {"country": "DE", "year": None, "count": 4, "accuracy": 0.8},
        {"country": "FR", "year": 1, "count": 5, "accuracy": 0.9},
    ],
    "odd": [
        {'a "b"': 'it\'s "odd"', "count": 1, "loss": 0.1},
        {'a "b"': "null", "count": 2, "loss": 0.2},
        {'a "b"': None, "count": 3, "loss": 0.3},
        {"other": 0, "count": 4, "loss": 0.4},
        {"other": None, "count": 5, "loss": 0.5},
    ],
    "worst": [{"row": 7, "loss": 2.5, "target": "cat"}, {"row": 3, "loss": 1.5, "target": "dog"}],
    "rows": {"scored": 10, "invalid": {}},
    "spec": {"task": "multiclass", "normalize": True},
}


@pytest.mark.parametrize(
    ("text", "value", "fails"),
    [
        ("loss > 0.35", 0.25, False),
        ("loss>0.2", 0.25, True),
        ("loss.mean <= 0.25", 0.25, True),
        ("loss.ci95.1 > 0.29", 0.3, True),
        ('loss.quantiles."0.5" >= 1e-1', 0.1, True),
        ("accuracy < 0.95", 0.9, True),
        ("accuracy.top5 < 0.95", 0.99, False),
        ("per_class.cat.recall < 0.9", 0.8, True),
        ("per_class.'St. Bernard'.recall < 0.9", 1.0, False),
        ("groups.country.DE.accuracy < 0.9", 0.7, True),
        ('groups.country."a b".accuracy != 1', 1.0, False),
        ("classes.1.loss > 0.1", 0.2, True),
        ("slices.country.FR.accuracy < 0.9", 0.9, False),
        ("slices.country.DE.year.null.accuracy > 0", 0.8, True),
        ("slices.year.1.country.DE.count < 5", 3, True),
        ("""odd.'a "b"'."it's ""odd""\".loss > 0""", 0.1, True),
        ("""odd."a ""b""\".'it''s "odd"'.loss > 0""", 0.1, True),
        ("""odd.'a "b"'.null.loss > 0""", 0.3, True),
        ("""odd.'a "b"'."'null'".loss > 0""", 0.2, True),
        ("odd.other.0.loss > 0", 0.4, True),
        ("odd.other.null.loss > 0", 0.5, True),
        ("worst.0.loss > 2", 2.5, True),
        ("worst.target.dog.row < 3", 3, False),
        ("rows.scored == 10", 10, True),
        ("rows.scored < -inf", 10, False),
    ],
)
def test_what_a_gate_sees(text: str, value: float, fails: bool) -> None:
    gate = parse_gate(text)
    assert gate.value(RESULT) == value
    assert gate.fails(gate.value(RESULT)) is fails
    assert bool(failures([gate], RESULT)) is fails


@pytest.mark.parametrize("comparator", ["<", "<=", ">", ">=", "==", "!="])
def test_nan_fails_every_gate(comparator: str) -> None:
    assert failures([parse_gate(f"perplexity {comparator} 1")], RESULT) == [
        f"gate failed: perplexity {comparator} 1 (it is nan)"
    ]


def test_a_failure_shows_the_gate_and_the_value() -> None:
    gates = [parse_gate("loss > 0.2"), parse_gate("loss > 0.9"), parse_gate(" accuracy  < 0.95 ")]
    assert failures(gates, RESULT) == [
        "gate failed: loss > 0.2 (it is 0.25)",
        "gate failed: accuracy  < 0.95 (it is 0.9)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name"),
        ("loss", r"expected a comparator \(<, <=, >, >=, ==, !=\) after loss"),
        ("loss = 3", "expected a comparator"),
        ("loss. > 3", "expected a name"),
        (".loss > 3", "expected a name"),
        ("loss >", "expected a number after >, got ''"),
        ("loss > nan", "expected a number after >, got 'nan'"),
        ("loss > 1 or 2", "expected a number after >, got '1 or 2'"),
        ("loss > __import__('os')", "expected a number"),
        ("loss > 1 > 0", "expected a number"),
        ('"loss > 1', "expected a name"),
    ],
)
def test_what_is_no_gate(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_gate(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("los > 1", "there is no 'los' in the result; did you mean loss"),
        ("xyz > 1", "choose one of loss, perplexity, accuracy"),
        ("loss.median > 1", "there is no 'median' in loss; .*mean, ci95, quantiles"),
        ("groups.country.FR.loss > 1", r"there is no 'FR' in groups.country; choose one of DE, \"a b\""),
        ("per_class.dog.recall > 1", r"choose one of cat, \"St. Bernard\""),
        ("classes.2.loss > 1", r"there is no '2' in classes; choose one of 0, 1"),
        ("slices.city.x > 1", "choose one of country, year$"),
        ("slices.country.IT > 1", r"there is no 'IT' in slices.country; choose one of DE, FR"),
        (
            "slices.country.DE.accuracy > 1",
            "slices.country.DE are 2 entries, each with its own 'accuracy'; .* by position or by country, year",
        ),
        ("worst.2.loss > 1", "there is no '2' in worst; choose one of row, loss, target"),
        ("odd.'a \"b\"'.x.loss > 1", """choose one of "it's ""odd""\", "'null'", null$"""),
        ("loss.ci95.2 > 1", "it has 2 entries, 0 to 1"),
        ("groups > 1", "groups is no number; choose one of country"),
        ("spec.task == 1", "spec.task is no number"),
        ("spec.normalize == 1", "spec.normalize is no number"),
        ("loss.mean.x > 1", "there is no 'x' in loss.mean"),
    ],
)
def test_unknown_names_list_the_candidates(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_gate(text).value(RESULT)


@given(
    st.lists(st.text(), min_size=1, max_size=4),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.floats(allow_nan=False),
)
def test_every_name_can_be_quoted(parts: list[str], comparator: str, limit: float) -> None:
    written = [".".join(f'"{part.replace(chr(34), 2 * chr(34))}"' for part in parts), ".".join(map(_quoted, parts))]
    for path in written:
        gate = parse_gate(f"{path} {comparator} {limit!r}")
        assert gate == Gate(gate.text, tuple(parts), comparator, limit)


def read_slowly(text: str) -> tuple[tuple[str, ...], str, float] | None:
    """The grammar letter by letter; None for what is no gate."""
    at, parts = 0, []
    while True:
        while text[at : at + 1].isspace():
            at += 1
        part, quote = "", text[at : at + 1]
        if quote in ("'", '"'):
            at += 1
            while text[at : at + 1] != quote or text[at : at + 2] == 2 * quote:
                if at >= len(text):
                    return None
                part += text[at]
                at += 2 if text[at] == quote else 1
            at += 1
        else:
            while at < len(text) and not text[at].isspace() and text[at] not in ".\"'<>=!":
                part += text[at]
                at += 1
            if not part:
                return None
        parts.append(part)
        if text[at : at + 1] != ".":
            break
        at += 1
    rest = text[at:].strip()
    sign = next((sign for sign in ("<=", ">=", "==", "!=", "<", ">") if rest.startswith(sign)), None)
    try:
        limit = float(rest[len(sign or "") :].strip())
    except ValueError:
        return None
    return None if sign is None or math.isnan(limit) else (tuple(parts), sign, limit)


#: Pieces of gates, so that much of what is put together from them nearly is one.
PIECES = [
    "a",
    "loss",
    ".",
    ".",
    '"',
    '""',
    "'",
    "''",
    " ",
    "\t",
    "<",
    ">",
    "=",
    "==",
    "!=",
    ">=",
    "1",
    "-1e3",
    "inf",
    "nan",
]


@settings(max_examples=500)
@given(st.one_of(st.text(alphabet=string.printable, max_size=30), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_is_read_as_the_grammar_says(text: str) -> None:
    want = read_slowly(text)
    if want is None:
        with pytest.raises(UsageError, match=r"^--fail-if .*: expected "):
            parse_gate(text)
    else:
        gate = parse_gate(text)
        assert (gate.path, gate.comparator, gate.limit) == want


def test_the_slow_reader_knows_a_gate() -> None:
    assert read_slowly(""" "a""b" . 'c' >= 1e3 """) is None  # no space before a dot
    assert read_slowly(""" "a""b". 'c.d'>=1e3 """) == (('a"b', "c.d"), ">=", 1000.0)


TREES = st.recursive(
    st.floats() | st.integers(-9, 9),
    lambda inner: st.dictionaries(st.text(), inner, min_size=1, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), TREES, min_size=1, max_size=4), st.data())
def test_every_number_in_a_result_can_be_named(tree: dict[str, Any], data: st.DataObject) -> None:
    here, path = tree, []
    while isinstance(here, dict):
        path.append(data.draw(st.sampled_from(sorted(here))))
        here = here[path[-1]]
    sign = data.draw(st.sampled_from(sorted(SIGNS)))
    limit = data.draw(st.floats(allow_nan=False) | st.just(here).filter(lambda value: not math.isnan(value)))
    gate = parse_gate(f"{'.'.join(map(_quoted, path))} {sign} {limit!r}")
    assert repr(gate.value(tree)) == repr(here)
    assert gate.fails(here) is (math.isnan(here) or SIGNS[sign](here, limit))


SIGNS: dict[str, Any] = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a < b or a == b, ">": lambda a, b: b < a,
    ">=": lambda a, b: b < a or a == b, "==": lambda a, b: a == b, "!=": lambda a, b: not a == b,
}  # fmt: skip
