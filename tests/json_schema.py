"""The JSON of results as JSON Schema, made from what defines it: fields of statistics, columns of tables, dataclasses.

``python -m tests.json_schema --write`` (``make schema``) writes ``docs/schema``; a test holds the files to it, and real
results of all kinds to the files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import reduce
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fastxent.base.option import options_of
from fastxent.base.status import FIRST_INVALID, Status
from fastxent.comparison import result as comparison
from fastxent.comparison import several
from fastxent.comparison.baseline import Baseline
from fastxent.comparison.differences import Difference, Outcome
from fastxent.data.spec import Spec
from fastxent.engine.plan import Shard
from fastxent.losses.registry import LOSSES
from fastxent.results.as_json import SCHEMA
from fastxent.results.evaluation import Evaluation
from fastxent.results.known_names import empty_evaluations
from fastxent.sources.dataset.candidates import Candidate
from fastxent.sources.dataset.description import Column
from fastxent.sources.skipped import LeftOut
from fastxent.statistics.field import Field
from fastxent.statistics.influences import INFLUENCED
from fastxent.statistics.options import STATISTICS, Measures
from fastxent.statistics.sampling import INTERVALS
from fastxent.storage.convert import Conversion
from fastxent.storage.inspect import Speed
from fastxent.totals.totals import Totals
from tests.shell import ROOT

FOLDER = ROOT / "docs" / "schema"
Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Floating point: JSON has no NaN and no infinities.
NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
INTEGER, TEXT, TRUTH, NOTHING = ({"type": name} for name in ("integer", "string", "boolean", "null"))
REFERENCE = {"$ref": "#/$defs/number"}
COUNT = {"type": "integer", "minimum": 0}
PAIR = {"type": "array", "items": REFERENCE, "minItems": 2, "maxItems": 2}
ANYTHING: Schema = {}
SIMPLE = {float: REFERENCE, int: INTEGER, str: TEXT, bool: TRUTH, NoneType: NOTHING, Any: ANYTHING}


def main() -> None:
    for name, schema in schemas().items():
        path, text = FOLDER / f"{name}.json", text_of(schema)
        if "--write" in sys.argv and (not path.exists() or path.read_text() != text):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


def text_of(schema: Schema) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def schemas() -> dict[str, Schema]:
    """Every schema by the name of its file."""
    return {
        "evaluation": evaluation(), "comparison": comparison_schema(), "comparisons": comparisons(),
        "inspection": inspection(), "conversion": conversion(), "doctor": doctor(),
    }  # fmt: skip


# Forms


def closed(properties: dict[str, Schema], required: Any = (), **more: Any) -> Schema:
    """An object with these properties and no others."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": sorted(required)} if required else {}) | more


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def mapped(values: Schema) -> Schema:
    """An object with names from the data."""
    return {"type": "object", "additionalProperties": values}


def either(*schemas: Schema) -> Schema:
    """What one of some schemas allows, the same once."""
    found: list[Schema] = []
    for schema in schemas:
        found += [each for each in schema.get("anyOf", [schema]) if each not in found]
    if ANYTHING in found:
        return ANYTHING
    return found[0] if len(found) == 1 else {"anyOf": found}


def of_type(hint: Any) -> Schema:
    """What values of a Python type become."""
    if hint in SIMPLE:
        return SIMPLE[hint]
    if is_dataclass(hint):
        return of_dataclass(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return either(*map(of_type, inner))
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is dict:
        return mapped(of_type(inner[1]))
    if hint in (tuple, list) or origin in (tuple, list):
        if not inner or inner[-1] is Ellipsis or origin is list:
            return listed(of_type(inner[0]) if inner else ANYTHING)
        return PAIR if inner == (float, float) else {"type": "array", "prefixItems": list(map(of_type, inner))}
    raise TypeError(hint)


def of_dataclass(
    cls: Any, *, leave: tuple[str, ...] = (), left_out: Literal["nones", "nothing", "defaults"] = "nones"
) -> Schema:
    """The fields of a dataclass but for those to ``leave``, of which some may be left out."""
    hints = {name: hint for name, hint in get_type_hints(cls).items() if name not in leave}
    names = [each.name for each in fields(cls) if each.name in hints]
    found = {name: of_type(hints[name]) for name in names}
    if left_out == "nothing":
        return closed(found, names)
    optional = names if left_out == "defaults" else [name for name in names if NoneType in get_args(hints[name])]
    some = {
        name: either(*(each for each in schema.get("anyOf", [schema]) if each != NOTHING))
        for name, schema in found.items()
    }
    return closed(some, set(names) - set(optional))


def of_value(value: Any) -> Schema:
    """The schema that a value is an example of."""
    if isinstance(value, dict):
        return closed({name: of_value(each) for name, each in value.items()}, value)
    if isinstance(value, list):
        kinds = [of_value(each) for each in value]
        if len(value) == 2 and kinds == [REFERENCE, REFERENCE]:
            return PAIR
        return listed(reduce(merged, kinds) if kinds else ANYTHING)
    return SIMPLE[type(value)]


def merged(one: Schema, other: Schema) -> Schema:
    """A schema of what either allows, of objects property by property."""
    if one == other:
        return one
    if {one.get("type"), other.get("type")} == {"object"}:
        both = {**one["properties"], **other["properties"]}
        for name in one["properties"].keys() & other["properties"].keys():
            both[name] = merged(one["properties"][name], other["properties"][name])
        required = {*one.get("required", ())} & {*other.get("required", ())}
        return one | other | {"properties": both, "required": sorted(required)}
    if {one.get("type"), other.get("type")} == {"array"}:
        return listed(merged(one["items"], other["items"]))
    if [one, other] in ([INTEGER, REFERENCE], [REFERENCE, INTEGER]):
        return REFERENCE
    return either(one, other)


def of_table(table: Any, *, more: Schema | None = None) -> Schema:
    """A list of rows of an Arrow table; ``more`` says what columns are from the data."""
    kinds = {"int64": INTEGER, "double": REFERENCE, "string": TEXT, "bool": TRUTH}
    columns = {each.name: either(kinds[str(each.type)], NOTHING) for each in table.schema}
    row = closed(columns, () if more is not None else columns)
    return listed(row if more is None else row | {"additionalProperties": more})


# Evaluations


def evaluation() -> Schema:
    """Of `Evaluation.to_dict`, and of ``--json`` of evaluate, score and merge."""
    sections, required = {}, None
    for each in (*empty_evaluations(), *least()):
        found = sections_of(each)
        both = sections.keys() & found.keys()
        sections = sections | found | {name: merged(sections[name], found[name]) for name in both}
        told = found.keys() & each.to_dict().keys()
        required = told if required is None else required & told
    always = {"schema", "spec", "rows", "loss_unit", "warnings", "run"}
    opening = {
        "schema": {"const": SCHEMA},
        "spec": spec(),
        "rows": rows(),
        "loss_unit": TEXT | {"description": "nats, bits, bans, or logarithms to a base: the unit of losses below"},
        "settings": settings(),
    }
    closing = {
        "first_invalid": {"type": "object", "propertyNames": {"enum": causes()}, "additionalProperties": COUNT}
        | {"description": "the number of the first row of every cause, over all that was read"},
        "left_out": listed(of_dataclass(LeftOut, leave=("first_row",), left_out="nothing")),
        "intervals": closed(dict.fromkeys(INTERVALS, PAIR)),
        "warnings": listed(TEXT),
        "baseline": of_dataclass(Baseline) | {"description": "with --baseline"},
        "run": run(),
    }
    whole = closed(opening | sections | closing, always | (required or set()))
    return document(SCHEMA, "An evaluation by fastxent", whole)


def least() -> Iterator[Evaluation]:
    """Evaluations of no rows, without weights, that say less."""
    asked = [Measures(spread=spread, scores=scores) for spread in (True, False) for scores in (True, False)]
    for task, classes in (("multiclass", 3), ("binary", 1), ("multilabel", 3)):
        spec = Spec.make(num_classes=classes, task=task)
        for measures in (*asked, Measures(statistics=("ranking",))):
            yield Evaluation(Totals(spec, measures))


def sections_of(empty: Evaluation) -> dict[str, Schema]:
    """What statistics and tables say, by name; what is of several classes or of groups as well."""
    values = empty.to_dict()
    found = {name: of_value(value) for name, value in values.items()}
    for name, field in empty.reading.fields.items():
        if isinstance(values.get(name), int | float):
            found[name] = of_field(field)
    for name in ("schema", "spec", "rows", "loss_unit", "settings", "warnings", "run"):
        found.pop(name, None)
    for name, table in empty._tables().items():
        if hasattr(table, "schema"):
            found[name] = kept_rows(table) if "path" in table.column_names else of_table(table)
    if "label_errors" in found:
        found["label_errors"] = closed({by: kept_rows(table) for by, table in empty.label_errors.items()})
    if "loss_histogram" in found:
        found["loss_histogram"] = of_table(empty.loss_histogram())
    return refined(found) | of_groups(empty)


def of_field(field: Field) -> Schema:
    """A number of a statistic; a count is null where it is not known."""
    kind = either(COUNT, NOTHING) if field.kind is int else REFERENCE
    return kind | ({"description": field.title} if field.title else {})


def refined(found: dict[str, Schema]) -> dict[str, Schema]:
    """What an example alone does not tell."""
    if "accuracy" in found:
        tops = {"^top[1-9][0-9]*$": REFERENCE}
        inner = {"type": "object", "patternProperties": {"^top[1-9][0-9]*$": PAIR}, "additionalProperties": False}
        accuracy = closed({"ci95": inner}, ("top1", "ci95"), patternProperties=tops)
        found["accuracy"] = accuracy
    if "calibration" in found:
        names = ("low", "high", "count", "confidence", "accuracy")
        items = [(COUNT if name == "count" else REFERENCE) | {"title": name} for name in names]
        found["calibration"]["properties"]["bins"] = listed({"type": "array", "prefixItems": items, "items": False})
    if "loss" in found and "clusters" in found["loss"]["properties"]:
        found["loss"]["required"].remove("clusters")
    return found


def kept_rows(table: Any) -> Schema:
    """Rows that were kept: columns that were asked for beside, and classes by their names where they have some."""
    schema = of_table(table, more=ANYTHING)
    for name in ("target", "predicted"):
        if name in schema["items"]["properties"]:
            schema["items"]["properties"][name] = either(INTEGER, TEXT, NOTHING)
    return schema


def of_groups(empty: Evaluation) -> dict[str, Schema]:
    """Tables with the values of the columns that rows are grouped by, and fields of every group."""
    described = {name: of_field(each) for name, each in empty.reading.fields.items()}
    row = closed(described, ("count",)) | {"additionalProperties": ANYTHING}
    tables = {"groups": listed(row), "margins": listed(row)}
    for name in ("per_class", "classwise", "worst", "worst_per_class"):
        if (table := empty._tables()[name]) is not None:
            whole = kept_rows(table) if "path" in table.column_names else of_table(table, more=ANYTHING)
            tables[f"group_{name}"] = whole
    if (errors := empty.label_errors) is not None:
        tables["group_label_errors"] = closed({by: kept_rows(table) for by, table in errors.items()})
    return tables


def spec() -> Schema:
    """What is measured: task, number of classes, and what is not at its default."""
    whole = of_dataclass(Spec, leave=("loss_options",), left_out="defaults")
    of_losses = [option for loss in LOSSES.values() for option in loss.options]
    whole["properties"] |= {option.name: REFERENCE | {"description": option.brief} for option in of_losses}
    whole["required"] = ["num_classes", "task"]
    return whole


def settings() -> Schema:
    """What was asked for beside, where it is not at its default."""
    whole = of_dataclass(Measures, leave=("statistics",), left_out="defaults")
    for option in options_of(Measures):
        if option.name in whole["properties"] and option.brief:
            whole["properties"][option.name] = whole["properties"][option.name] | {"description": option.brief}
    whole["properties"] |= {name: {"const": True} for name in STATISTICS}
    whole["properties"]["edges"] = listed(listed(ANYTHING))
    return whole


def causes() -> list[str]:
    """Why a row is invalid."""
    return [status.name.lower() for status in Status if status >= FIRST_INVALID]


def rows() -> Schema:
    """Rows by what became of them."""
    counts = ("read", "scored", "ignored", "zero_weight", "uneven")
    invalid = {"type": "object", "propertyNames": {"enum": causes()}, "additionalProperties": COUNT}
    return closed(dict.fromkeys(counts, COUNT) | {"invalid": invalid}, ("read", "scored", "ignored", "invalid"))


def run() -> Schema:
    """Facts of the run; which there are depends on how it was run, and more may come."""
    known = {
        "seconds": REFERENCE, "bytes": INTEGER, "compile_seconds": REFERENCE, "rows_per_second": REFERENCE,
        "threads": INTEGER, "runner": TEXT, "paths": listed(TEXT), "row_groups": mapped(COUNT), "notes": listed(TEXT),
        "shard": of_dataclass(Shard), "states": listed(TEXT), "command": TEXT, "numerics_version": COUNT,
        "version": TEXT, "finished": TEXT,
    }  # fmt: skip
    return {"type": "object", "properties": known, "required": ["numerics_version"]}


# Others


def comparison_schema() -> Schema:
    """Of `Comparison.to_dict`, and of ``--json`` of compare."""
    return document(comparison.SCHEMA, "A comparison of two sets of predictions by fastxent", one_comparison())


def one_comparison() -> Schema:
    outcome = of_dataclass(Outcome, leave=("statistics",))
    sides = closed(dict.fromkeys("ab", REFERENCE), "ab")
    for name in INFLUENCED:
        outcome["properties"] |= {name: sides, f"{name}_delta": of_dataclass(Difference)}
    whole = {name: each for name, each in outcome["properties"].items() if name != "rows"}
    ids = either(INTEGER, TEXT, listed(ANYTHING))
    alone = closed({"count": COUNT, "first": listed(ids)}, ("count", "first"))
    counts = ("compared", "unscored", "zero_weight", "filtered_a", "filtered_b")
    changed = closed({"id": ids} | dict.fromkeys(("loss_a", "loss_b", "delta"), REFERENCE), ("id", "delta"))
    side = closed(
        {"spec": spec(), "rows": rows(), "first_invalid": mapped(COUNT), "paths": listed(TEXT)},
        ("spec", "rows", "paths"),
    )
    names = ("on", "by_order", "forms", "group_by", "cluster_by", "weight", "filter")
    values = {
        "schema": {"const": comparison.SCHEMA},
        "settings": {"type": "object", "properties": dict.fromkeys(names, ANYTHING)},
        "rows": closed(dict.fromkeys(counts, COUNT) | {"only_a": alone, "only_b": alone}, ("compared", "unscored")),
        "loss_unit": TEXT,
        "a": side,
        "b": side,
        **whole,
        "groups": mapped(mapped(outcome)),
        "improved": listed(changed),
        "regressed": listed(changed),
        "warnings": listed(TEXT),
        "run": run(),
    }
    optional = {"groups"} | set(whole) - set(outcome["required"])
    return closed(values, values.keys() - optional)


def comparisons() -> Schema:
    """Of `Comparisons.to_dict`, and of ``--json`` of compare with more than two sets."""
    name = several.SCHEMA
    values = {"schema": {"const": name}, "comparisons": mapped(one_comparison()), "p_holm": mapped(REFERENCE)}
    return document(
        name, "Comparisons of several sets of predictions with the first by fastxent", closed(values, values)
    )


def inspection() -> Schema:
    """Of ``fastxent inspect --json``."""
    name = "fastxent.inspection/1"
    candidate = of_dataclass(Candidate, leave=("named",))
    column = of_dataclass(Column)
    column["required"] = ["name", "type"]
    texts, speed = listed(TEXT), {"rows": COUNT, "bytes": COUNT, "seconds": REFERENCE, "way": TEXT}
    chosen = {"predictions": texts, "target": either(TEXT, NOTHING), "task": TEXT}
    always = {
        "schema": {"const": name}, "paths": texts, "format": TEXT, "rows": INTEGER, "row_groups": INTEGER,
        "file_bytes": COUNT, "columns": listed(column), "predictions": listed(candidate), "targets": listed(candidate),
        "advice": texts, "commands": texts, "open_questions": texts,
    }  # fmt: skip
    more = {
        "class_names": texts, "metadata": mapped(ANYTHING), "selection": closed(chosen, chosen), "form": TEXT,
        "num_classes": COUNT, "reading": closed(speed, speed), "notes": texts,
    }  # fmt: skip
    return document(name, "What files hold, by fastxent", closed(always | more, always))


def conversion() -> Schema:
    """Of ``fastxent convert --json``."""
    name = "fastxent.conversion/1"
    hints = get_type_hints(Conversion)
    plain = {each: of_type(hints[each]) for each in hints if hints[each] is not Speed}
    speed = {"rows": COUNT, "bytes": COUNT, "seconds": REFERENCE}
    values = {"schema": {"const": name}, **plain, "gain": REFERENCE}
    values["reading"] = closed(dict.fromkeys(("before", "after"), closed(speed, speed)), ("before", "after"))
    return document(name, "What fastxent convert did", closed(values, values))


def doctor() -> Schema:
    """Of ``fastxent doctor --json``: versions, processor, cache and threads."""
    from fastxent.api.doctor import checkup

    name = "fastxent.doctor/1"
    lists = {each for each, value in checkup().items() if isinstance(value, list)}
    counts = {each for each, value in checkup().items() if isinstance(value, int)}
    values = {
        each: listed(TEXT) if each in lists else COUNT if each in counts else either(TEXT, NOTHING)
        for each in checkup()
    }
    return document(
        name, "The machine and the installation, by fastxent", closed({"schema": {"const": name}} | values, values)
    )


def document(name: str, title: str, schema: Schema) -> Schema:
    """A schema that stands alone."""
    return (
        {"$schema": DIALECT, "$id": f"urn:{name.replace('.', ':', 1).replace('/', ':')}", "title": title}
        | schema
        | {"$defs": {"number": NUMBER | {"description": "floating point, to the bit; NaN and infinities are text"}}}
    )


if __name__ == "__main__":
    main()
