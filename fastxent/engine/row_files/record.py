"""What a file of per-row results says about itself: what it was made from, how, and the totals of its rows.

It stands in the file's metadata, so that a later run can find whether the file is still right, and go on from there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.base.errors import StateError
from fastxent.data.spec import Spec
from fastxent.sources.dataset import retry
from fastxent.storage.place import Place
from fastxent.totals.totals import Totals

__all__ = ["MANIFEST", "RECORD_KEY", "job_digest", "make_record", "manifest_of", "read_record", "totals_of"]

RECORD_KEY = b"fastxent.scores"
#: The last file that is written into a folder of outputs; readers of data sets pass over names that begin so.
MANIFEST = "_manifest"
VERSION = 2


def job_digest(spec: Spec, **columns: Any) -> str:
    """SHA-256 of everything that decides what the rows of an output are."""
    text = json.dumps({"spec": spec.digest(), **columns}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def make_record(
    job: str, totals: Totals, identity: Mapping[str, Any] | None, place: Mapping[str, int]
) -> dict[str, Any]:
    """What an output says about itself."""
    return {
        "version": VERSION,
        "job": job,
        "spec": totals.spec.to_dict(),
        "input": identity,
        **place,
        "rows": int(totals.tallies.rows.sum()),
        "state": base64.b64encode(zlib.compress(totals.to_bytes(), 6)).decode(),
    }


def manifest_of(job: str, files: Mapping[str, tuple[str, int]]) -> bytes:
    """What stands beside the outputs in a folder once all are whole: which they are, of which inputs, how many rows."""
    said = [{"file": file, "input": path, "rows": rows} for path, (file, rows) in files.items()]
    whole = {"version": VERSION, "job": job, "rows": sum(rows for _, rows in files.values()), "files": said}
    return (json.dumps(whole, indent=1) + "\n").encode()


def read_record(path: str) -> dict[str, Any] | None:
    """What a whole output says about itself; None if it is none of ours or cannot be read."""
    place = Place.of(path)
    try:
        with retry.call(place.open, remote=place.filesystem is not None) as file:
            metadata = pq.read_metadata(file)
        record = json.loads((metadata.metadata or {})[RECORD_KEY])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    if not isinstance(record, dict) or record.get("version") != VERSION or not isinstance(record.get("first_id"), int):
        return None
    return record if record.get("rows") == metadata.num_rows else None


def totals_of(record: Mapping[str, Any], path: str) -> Totals:
    """The totals of an output's rows; raises StateError if they are damaged."""
    try:
        data = zlib.decompress(base64.b64decode(record["state"], validate=True))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise StateError(f"{path}: its totals are damaged") from error
    return Totals.from_bytes(data, path)
