"""The cache of compiled kernels.

Numba's own notices a change in the file of a function but not in the files of the functions it calls,
refuses to import where nothing is writable, breaks on a file that was cut short, and may file one
signature's code under another when two processes save at once. Here the folder is named by a digest of
all kernel sources and of the compiler's versions, so machine code is never stale; every entry is a file
of its own with a checksum; folders that cannot be written are read, and what is in none compiles in memory;
and folders that nobody has started from for a month are removed when a new one is made.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import FunctionCache, NullCache
from numba.core.serialize import dumps

__all__ = ["cache_folder", "is_safe", "kernel_cache", "read_folders", "source_digest", "watch_compiling"]

#: The folder of all kernels, whatever folder below it they are in.
_HERE = Path(__file__).parent.parent
#: What kernels are made of that lies outside their folder: exact sums, hashes, sizes of numbers, codes of statuses.
OUTSIDE = ("base/exact.py", "base/hashing.py", "base/kinds.py", "base/status.py")
#: Seconds after its last use before a folder of other sources or versions is removed.
_FORGOTTEN = 30 * 24 * 3600.0


@cache
def source_digest() -> str:
    """SHA-256 over every kernel source and the versions of Numba, llvmlite and Python."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for path in [*sorted(_HERE.rglob("*.py")), *(_HERE.parent / name for name in OUTSIDE)]:
        digest.update(str(path.relative_to(_HERE.parent)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cache_folder() -> str | None:
    """The folder in which compiled code is kept: below ``NUMBA_CACHE_DIR``, beside the sources, or in the user's cache.

    None if none of them can be written, or none is safe: what is in it is run, so nobody else may write there, and its
    path does not depend on where a command is started.
    """
    return _folders()[0]


def read_folders() -> tuple[str, ...]:
    """The folders from which compiled code is taken: where it is kept, and those that others made, as in images.

    These are as safe as that one, and are never written.
    """
    return _folders()[1]


@cache
def _folders() -> tuple[str | None, tuple[str, ...]]:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    named = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [named] if named else [str(_HERE / "__pycache__"), os.path.join(home, "fastxent")]
    kept, others = None, []
    for folder in filter(os.path.isabs, candidates):
        path = os.path.join(folder, f"kernels-{source_digest()[:16]}")
        if kept is None and _can_keep(folder, path, anybodys=bool(named)):
            kept = path
        elif os.path.isdir(path) and is_safe(path, anybodys=bool(named)):
            others.append(path)
    return kept, (*([] if kept is None else [kept]), *others)


def _can_keep(folder: str, path: str, *, anybodys: bool) -> bool:
    """Whether code may be kept in a folder, at a path within it that is made if need be."""
    try:
        new = not os.path.isdir(path)
        os.makedirs(folder, mode=0o755, exist_ok=True)
        if new:
            os.makedirs(path, mode=0o755, exist_ok=True)
        if not is_safe(path, anybodys=anybodys):
            return False
        # A file that comes and goes shows that the folder can be written, and leaves in its time when it was used.
        probe = os.path.join(path, f".probe-{uuid.uuid4().hex[:16]}")
        with open(probe, "wb"):
            pass
        os.unlink(probe)
    except OSError:
        return False
    if new:
        _forget(folder)
    return True


def is_safe(path: str, *, anybodys: bool = False) -> bool:
    """Whether nobody but this user and root can put files into a folder, or swap it, as OpenSSH asks of its own.

    Args:
        path: an existing folder.
        anybodys: the folder itself may belong to another user too, who named it: that of an image, say.
    """
    if not hasattr(os, "getuid"):
        return True
    here = Path(path).resolve()
    for place in (here, *here.parents):
        status = place.stat()
        trusted = status.st_uid in (0, os.getuid()) or anybodys
        private = status.st_gid == status.st_uid == os.getuid()  # the group of one user that many systems make
        others = status.st_mode & (stat.S_IWOTH if private else stat.S_IWOTH | stat.S_IWGRP)
        if not trusted or (others and (place == here or not status.st_mode & stat.S_ISVTX)):
            return False
    return True


def _forget(folder: str) -> None:
    """Remove folders of other digests that were not used for long. Whoever still runs from one only compiles anew."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            with suppress(OSError):
                ours = re.fullmatch(r"kernels-[0-9a-f]{16}", entry.name) and entry.is_dir(follow_symlinks=False)
                if ours and time.time() - entry.stat().st_mtime > _FORGOTTEN:
                    shutil.rmtree(entry.path, ignore_errors=True)


_watchers: list[Callable[[], None]] = []


@contextmanager
def watch_compiling(watcher: Callable[[], None]) -> Iterator[None]:
    """Call ``watcher`` (in any thread) before every kernel that has to be compiled, for the cache has none."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def _notify() -> None:
    for watcher in _watchers:
        watcher()


class _Unkept(NullCache):
    """In place of a cache where there is no folder."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        _notify()


class _Locator:
    """Tells Numba's cache where entries live and what makes them stale."""

    def __init__(self, name: str) -> None:
        self._name = name

    def ensure_cache_path(self) -> None:
        os.makedirs(self.get_cache_path(), exist_ok=True)

    def get_cache_path(self) -> str:
        return read_folders()[0]

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return self._name


class _Entries:
    """The entries of one kernel, a file each: a SHA-256, then the pickled key and machine code it covers."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _file(self, key: Any) -> str:
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def load(self, key: Any) -> Any:
        """The machine code for this key; None if there is none, or its files are damaged."""
        for folder in read_folders():
            try:
                data = _read_safely(os.path.join(folder, self._file(key)))
            except OSError:
                continue
            if hashlib.sha256(data[32:]).digest() == data[:32]:
                kept_key, code = pickle.loads(data[32:])
                if kept_key == key:
                    return code
        return None

    def save(self, key: Any, code: Any) -> None:
        """Keep the machine code. A full disk or a folder that has gone costs the next start, not this one."""
        folder = cache_folder()
        if folder is None:
            return
        body, path = dumps((key, code)), os.path.join(folder, self._file(key))
        unfinished = f"{path}.{uuid.uuid4().hex[:16]}"
        try:
            Path(unfinished).write_bytes(hashlib.sha256(body).digest() + body)
            os.replace(unfinished, path)
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)

    def flush(self) -> None:
        """Nothing to forget: an entry is only ever replaced by its equal."""


def _read_safely(path: str) -> bytes:
    """The bytes of a file that nobody but its owner can have written; empty for others."""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        known = not hasattr(os, "getuid") or status.st_uid in (0, os.getuid(), os.stat(os.path.dirname(path)).st_uid)
        return file.read() if known and not status.st_mode & stat.S_IWOTH else b""


def kernel_cache(function: Callable[..., Any], name: str, rebuild: Callable[[Any, Any], Any] | None = None) -> Any:
    """A cache for one kernel, whose entries have its ``name``, variant included.

    ``rebuild(target context, payload)`` makes something callable of what was kept; by default Numba's way.
    """
    if not read_folders():
        return _Unkept()

    class Impl(FunctionCache._impl_class):
        def __init__(self, py_func: Callable[..., Any]) -> None:
            self._lineno = py_func.__code__.co_firstlineno
            self._locator = _Locator(name)
            self._filename_base = name

        def rebuild(self, target_context: Any, payload: Any) -> Any:
            return (rebuild or super().rebuild)(target_context, payload)

    class KernelCache(FunctionCache):
        _impl_class = Impl

        def __init__(self, py_func: Callable[..., Any]) -> None:
            super().__init__(py_func)
            self._cache_file = _Entries(name)

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            # Numba's own first imports all that it can compile (0.5 s), and compiles its runtime (0.05 s), which arrays
            # that are made need: kernels make none.
            compiled = self._load_overload(sig, target_context)
            if compiled is None:
                _notify()
            return compiled

        def save_overload(self, sig: Any, data: Any) -> None:
            with suppress(OSError):  # the folder may have gone, or the disk be full
                super().save_overload(sig, data)

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            return (sig, codegen.magic_tuple(), name)

    return KernelCache(function)
