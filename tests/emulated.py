"""Tests whose kernels run on an emulated AVX-512 processor: ``python -m pytest -p tests.emulated FILES``.

Kernels are compiled for such a processor, and what enters one is run by `tests.emulator`; all else runs as ever. Tests
that start processes of their own are not for this. A run that emulates nothing fails.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import pytest

TARGET = "skylake-avx512"
ENTRY = "_ZN7cpython"  #: Numba's prefix of what Python calls with (closure, arguments, keywords)


class Emulation:
    """Numba, told to hand out entry points that lead to an emulated processor."""

    def __init__(self) -> None:
        from tests.emulator import Processor

        self.processor = Processor()
        self.exit_status = 1
        self._entries: dict[int, Any] = {}

    def start(self) -> None:
        from numba.core.codegen import JITCodeLibrary
        from numba.core.lowering import Lower

        find, wrap = JITCodeLibrary.get_pointer_to_function, Lower.create_cpython_wrapper
        JITCodeLibrary.get_pointer_to_function = lambda library, name: (
            self.entry(find(library, name), library) if name.startswith(ENTRY) else find(library, name)
        )
        # Never release the interpreter lock: where another thread waits for it, that takes a system call.
        Lower.create_cpython_wrapper = lambda lowering, release_gil=False: wrap(lowering, False)

    def entry(self, address: int, library: Any) -> int:
        """Where to enter in place of an address; its library is kept, for the emulator remembers what it decoded."""
        if address not in self._entries:
            pointer = ctypes.c_void_p
            call = ctypes.PYFUNCTYPE(pointer, pointer, pointer, pointer)(
                lambda *arguments: self.processor.call(address, *(argument or 0 for argument in arguments))
            )
            self._entries[address] = call, library
        return ctypes.cast(self._entries[address][0], ctypes.c_void_p).value or 0

    def __str__(self) -> str:
        seen = self.processor
        return (
            f"emulated {TARGET}: {len(self._entries)} kernels, {seen.calls} calls, "
            f"{seen.avx512_calls} of which used registers that only AVX-512 has"
        )


def pytest_configure(config: Any) -> None:
    assert "numba" not in sys.modules
    os.environ |= {"NUMBA_CPU_NAME": TARGET, "NUMBA_CPU_FEATURES": ""}
    os.environ |= {"NUMBA_CACHE_DIR": str(config.rootpath / ".pytest_cache" / "emulated")}
    config.emulation = Emulation()
    config.emulation.start()


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    terminalreporter.write_line(str(config.emulation))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: Any) -> None:
    if not session.config.emulation.processor.calls:
        session.exitstatus = 1
    session.config.emulation.exit_status = int(session.exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: Any) -> None:
    """End at once: the emulator still holds Python functions when Python is gone, and ends in a segmentation fault."""
    if hasattr(config, "emulation"):
        sys.stdout.flush()
        os._exit(config.emulation.exit_status)
