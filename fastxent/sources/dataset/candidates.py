"""Which columns could be predictions and targets, by their types and names alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fastxent.sources.class_order import in_order
from fastxent.sources.dataset.metadata import class_names_of
from fastxent.sources.decode import runs
from fastxent.sources.decode.labels import is_text
from fastxent.sources.decode.primitive import is_number
from fastxent.sources.score_names import SCORE_WORDS, form_of, words

__all__ = ["Candidate", "prediction_candidates", "target_candidates"]

TARGET_WORDS = frozenset(("label", "labels", "target", "targets", "y", "class", "truth", "gold", "true"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """What could be meant: column names or one glob, the layout, and why.

    ``named`` says whether the name speaks for it, ``form`` which form of predictions it names.
    """

    columns: tuple[str, ...]
    layout: str
    reason: str
    named: bool
    form: str | None = None


def prediction_candidates(schema: Any, own: Mapping[str, Any]) -> Iterator[Candidate]:
    """What could be the predictions: what the file says itself, or else by types and names."""
    names = own.get("predictions")
    if isinstance(names, list) and names and all(name in schema.names for name in names):
        form = own.get("form")
        yield Candidate(
            tuple(names), _layout(schema, names), "the file says so", True, form if isinstance(form, str) else None
        )
        return
    for field in schema:
        kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        if _holds_scores(kind) and not _named_target(field.name):
            yield _candidate((field.name,), _layout(schema, [field.name]), field.name)
    yield from _families(schema)


def _holds_scores(kind: Any) -> bool:
    if runs.is_list(kind):
        return bool(pa.types.is_floating(kind.value_type))
    if runs.is_vector(kind):
        return True
    if pa.types.is_struct(kind):
        return kind.num_fields > 1 and all(pa.types.is_floating(field.type) for field in kind)
    return bool(pa.types.is_fixed_size_binary(kind)) and kind.byte_width > 16


def _families(schema: Any) -> Iterator[Candidate]:
    """Columns of floats that share what stands before their number, or else last underscore; else single ones."""
    floats = [field.name for field in schema if pa.types.is_floating(field.type) and not _named_target(field.name)]
    numbered = _joined(floats, r"(.*?)\d+")
    beside = {name for prefix in numbered for name in floats if re.fullmatch(re.escape(prefix) + "[^_]+", name)}
    joined = numbered | _joined([name for name in floats if name not in beside], r"(.*_)[^_]+")
    for prefix, names in joined.items():
        exact = [name for name in schema.names if name.startswith(prefix)] == names and not set(prefix) & set("*?[")
        listed = tuple(names[place] for place in in_order(names, prefix))
        yield _candidate((f"{prefix}*",) if exact else listed, "one column a class", prefix)
    members = {name for names in joined.values() for name in names} | {name for name in beside if "_" in name}
    for name in floats:
        if name not in members and words(name) & SCORE_WORDS:
            yield _candidate((name,), "one score a row (binary)", name)


def _joined(names: Sequence[str], pattern: str) -> dict[str, list[str]]:
    """Several names that a pattern finds the same prefix of."""
    families: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(pattern, name)
        if match and match[1]:
            families.setdefault(match[1], []).append(name)
    return {prefix: names for prefix, names in families.items() if len(names) > 1}


def _candidate(columns: tuple[str, ...], form: str, name: str) -> Candidate:
    named = bool(words(name) & SCORE_WORDS)
    reason = f"{form}, named like predictions" if named else form
    return Candidate(columns, form, reason, named, form_of((name,)))


def _layout(schema: Any, names: Sequence[str]) -> str:
    if len(names) > 1:
        return "one column a class"
    kind = schema.field(names[0]).type
    if isinstance(kind, pa.BaseExtensionType):
        return "tensor"
    if runs.is_list(kind):
        return "fixed-size list" if pa.types.is_fixed_size_list(kind) else "list"
    if runs.is_binary(kind):
        return "packed binary"
    if runs.is_vector(kind):
        return "Spark vector"
    return "struct" if pa.types.is_struct(kind) else "one score a row (binary)"


def target_candidates(schema: Any, own: Mapping[str, Any]) -> Iterator[Candidate]:
    """What could be the target, in the same way."""
    name = own.get("target")
    if isinstance(name, str) and name in schema.names:
        yield Candidate((name,), str(schema.field(name).type), "the file says so", True)
        return
    for field in schema:
        named = _named_target(field.name)
        flat = pa.types.is_integer(field.type) or pa.types.is_boolean(field.type) or is_text(field.type)
        if class_names_of({k: v for k, v in (schema.metadata or {}).items() if k == b"huggingface"}, field.name):
            yield Candidate((field.name,), str(field.type), "a Hugging Face ClassLabel", True)
        elif named and (flat or is_number(field.type) or runs.is_list(field.type)):
            yield Candidate((field.name,), str(field.type), "named like a target", True)
        elif flat and not words(field.name) & SCORE_WORDS:
            yield Candidate((field.name,), str(field.type), "integers, bool or text", False)


def _named_target(name: str) -> bool:
    """Whether a name has a word for targets and none for scores (``y_true``, but not ``y_prob``)."""
    found = words(name)
    return bool(found & TARGET_WORDS) and not found & SCORE_WORDS
