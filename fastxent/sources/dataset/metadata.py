"""What files say about themselves: our own metadata key, and the one of Hugging Face datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

__all__ = ["class_names_of", "is_class_label", "own_metadata"]


def own_metadata(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    """The JSON under the key ``fastxent``, or an empty dict if there is none that can be understood."""
    own = _json(metadata, b"fastxent")
    return own if own.get("version") == 1 else {}


def class_names_of(metadata: Mapping[bytes, bytes] | None, target: str | None) -> tuple[str, ...] | None:
    """Class names that the file itself gives: ours first, else Hugging Face's ClassLabel of the target column."""
    names = own_metadata(metadata).get("class_names")
    if names is None:
        names = _huggingface_names(metadata, target)
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def is_class_label(metadata: Mapping[bytes, bytes] | None, target: str | None) -> bool:
    """Whether Hugging Face says of the target that its integers are positions among the names."""
    return bool(_huggingface_names(metadata, target))


def _huggingface_names(metadata: Mapping[bytes, bytes] | None, target: str | None) -> Any:
    info = _json(metadata, b"huggingface").get("info")
    features = info.get("features") if isinstance(info, dict) else None
    feature = features.get(target) if isinstance(features, dict) else None
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    return feature.get("names")


def _json(metadata: Mapping[bytes, bytes] | None, key: bytes) -> Mapping[str, Any]:
    return _parsed((metadata or {}).get(key, b"{}"))


@lru_cache(maxsize=4)
def _parsed(text: bytes) -> Mapping[str, Any]:
    """A JSON object, or an empty one; asked for once a column."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
