"""The one decorator for compiled code: its flags and its cache.

Flags, written here once: ``nogil`` (kernels run side by side in threads), ``error_model="numpy"``
(no branch for a division by zero), and never ``fastmath`` (it may reorder sums and drop NaN checks,
and the bits of a loss are part of the contract).

The cache. Numba's own notices a change in the file of a function but not in the files of the
functions it calls, and refuses to import where nothing is writable. Here every entry is stamped
with a digest of all kernel sources and of the compiler's versions, so machine code is never stale; where no
folder can be written, kernels compile in memory.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit
from numba.core.caching import FunctionCache

__all__ = ["cache_folder", "is_cold", "kernel", "source_digest"]

_HERE = Path(__file__).parent


@cache
def source_digest() -> str:
    """SHA-256 over every kernel source and the versions of Numba, llvmlite and Python."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for path in sorted(_HERE.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def cache_folder() -> str | None:
    """The folder for compiled code: ``NUMBA_CACHE_DIR``, beside the sources, or the user's cache; None if none can be written."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    named = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [named] if named else [str(_HERE / "__pycache__"), os.path.join(home, "fastxent")]
    for folder in candidates:
        path = os.path.join(folder, f"kernels-{source_digest()[:16]}")
        try:
            os.makedirs(path, exist_ok=True)
            probe = os.path.join(path, f".probe-{os.getpid()}")
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


def _kernel_cache(name: str) -> type[FunctionCache]:
    """A cache class whose entries are named by the kernel's own name, variant included."""

    class Impl(FunctionCache._impl_class):  # type: ignore[misc, name-defined]
        def __init__(self, py_func: Callable[..., Any]) -> None:
            self._lineno = py_func.__code__.co_firstlineno
            self._locator = _Locator(name)
            self._filename_base = name

    class KernelCache(FunctionCache):
        _impl_class = Impl

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            return (sig, codegen.magic_tuple(), name)

    return KernelCache


def kernel(variant: str = "", **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with the house's flags, lazily, through the house's cache.

    ``variant`` tells apart kernels that a factory makes from one piece of source: it must name
    everything the function closes over.
    """

    def wrap(function: Callable[..., Any]) -> Any:
        if variant:
            # Symbols are named by this and by a number that starts anew in each process. Without the variant, machine
            # code from the cache can meet a symbol of the same name and other content, and runs that instead.
            function.__qualname__ += f"-{variant}"
        dispatcher = njit(nogil=True, error_model="numpy", **options)(function)
        if cache_folder() is not None:
            name = f"{function.__module__}.{function.__qualname__}".replace("<locals>.", "").replace("fastxent.kernels.", "")
            dispatcher._cache = _kernel_cache(name)(function)
            dispatcher._can_cache = True
        return dispatcher

    return wrap
