"""The one decorator for compiled code: its flags and its cache.

Flags, written here once: ``nogil`` (kernels run side by side in threads), ``error_model="numpy"``
(no branch for a division by zero), and never ``fastmath`` (it may reorder sums and drop NaN checks,
and the bits of a loss are part of the contract).

The cache. Numba's own notices a change in the file of a function but not in the files of the
functions it calls, refuses to import where nothing is writable, breaks on a file that was cut short,
and may file one signature's code under another when two processes save at once. Here the folder is
named by a digest of all kernel sources and of the compiler's versions, so machine code is never stale;
every entry is a file of its own with a checksum; and where nothing can be written, kernels compile in memory.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

__all__ = ["cache_folder", "is_cold", "kernel", "source_digest"]

_HERE = Path(__file__).parent
#: What kernels are made of that lies outside their folder: the shape of exact sums.
_OUTSIDE = _HERE.parent / "exact.py"


@cache
def source_digest() -> str:
    """SHA-256 over every kernel source and the versions of Numba, llvmlite and Python."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for path in [*sorted(_HERE.glob("*.py")), _OUTSIDE]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def cache_folder() -> str | None:
    """The folder for compiled code: ``NUMBA_CACHE_DIR``, beside the sources, or the user's cache.

    None if none of them can be written.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    named = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [named] if named else [str(_HERE / "__pycache__"), os.path.join(home, "fastxent")]
    for folder in candidates:
        path = os.path.join(folder, f"kernels-{source_digest()[:16]}")
        try:
            os.makedirs(path, exist_ok=True)
            probe = os.path.join(path, f".probe-{uuid.uuid4().hex[:16]}")
            with open(probe, "wb"):
                pass
            os.unlink(probe)
        except OSError:
            continue
        return path
    return None


def is_cold() -> bool:
    """Whether nothing has been compiled and kept yet."""
    folder = cache_folder()
    return folder is None or not any(name.endswith(".nbc") for name in os.listdir(folder))


class _Locator:
    """Tells Numba's cache where entries live and what makes them stale."""

    def __init__(self, name: str) -> None:
        self._name = name

    def ensure_cache_path(self) -> None:
        os.makedirs(self.get_cache_path(), exist_ok=True)

    def get_cache_path(self) -> str:
        folder = cache_folder()
        assert folder is not None
        return folder

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return self._name


class _Entries:
    """The entries of one kernel, a file each: a SHA-256, then the pickled key and machine code it covers."""

    def __init__(self, folder: str, name: str) -> None:
        self._base = os.path.join(folder, name)

    def _path(self, key: Any) -> str:
        return f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def load(self, key: Any) -> Any:
        """The machine code for this key; None if there is none, or its file is damaged."""
        try:
            data = Path(self._path(key)).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        found, code = pickle.loads(data[32:])
        return code if found == key else None

    def save(self, key: Any, code: Any) -> None:
        """Keep the machine code. A full disk or a folder that has gone costs the next start, not this one."""
        body = dumps((key, code))
        unfinished = f"{self._path(key)}.{uuid.uuid4().hex[:16]}"
        try:
            Path(unfinished).write_bytes(hashlib.sha256(body).digest() + body)
            os.replace(unfinished, self._path(key))
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)

    def flush(self) -> None:
        """Nothing to forget: an entry is only ever replaced by its equal."""


def _kernel_cache(name: str) -> type[FunctionCache]:
    """A cache class whose entries are named by the kernel's own name, variant included."""

    class Impl(FunctionCache._impl_class):
        def __init__(self, py_func: Callable[..., Any]) -> None:
            self._lineno = py_func.__code__.co_firstlineno
            self._locator = _Locator(name)
            self._filename_base = name

    class KernelCache(FunctionCache):
        _impl_class = Impl

        def __init__(self, py_func: Callable[..., Any]) -> None:
            super().__init__(py_func)
            self._cache_file = _Entries(self._cache_path, name)

        def save_overload(self, sig: Any, data: Any) -> None:
            with suppress(OSError):  # the folder may have gone, or the disk be full
                super().save_overload(sig, data)

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            return (sig, codegen.magic_tuple(), name)

    return KernelCache


def kernel(variant: str = "", **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with the house's flags, lazily, through the house's cache.

    ``variant`` tells apart kernels that a factory makes from one piece of source: it must name
    everything the function closes over.
    """

    def wrap(function: Callable[..., Any]) -> Any:
        module = function.__module__.removeprefix("fastxent.kernels.")
        name = f"{module}.{function.__qualname__}".replace("<locals>.", "")
        if variant:
            name = f"{name}-{variant}"
            # Numba names symbols by this and by a count of what the process has compiled. Without the variant, two
            # kernels of one factory that were compiled in two processes share a name, and a process that loads both
            # from the cache runs one in place of the other: the linker keeps the first of two weak symbols.
            function.__qualname__ = f"{function.__qualname__}-{variant}"
        dispatcher = njit(nogil=True, error_model="numpy", **options)(function)
        if cache_folder() is not None:
            dispatcher._cache = _kernel_cache(name)(function)
            dispatcher._can_cache = True
        return dispatcher

    return wrap
