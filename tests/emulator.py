"""Bochs' processor, on the machine code and the memory of this process: it runs what the real processor cannot.

Every page is mapped where it is, so that a pointer means the same to both. There is no operating system: a system call
is an error. Rounding is to nearest, and subnormal numbers are kept. For x86-64 Linux, with
``pip install bochscpu-python`` (version 0.4.0 is Bochs' Core i3-8121U: AVX-512 F, CD, DQ, BW, VL, IFMA and VBMI).
"""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import tempfile
from pathlib import Path
from threading import Lock
from typing import Any

PAGE = 1 << 12
LARGE_PAGE = 1 << 21
#: Physical addresses: page tables from the first, the process's memory from the second.
TABLES, MEMORY = 1 << 20, 1 << 32
PRESENT_WRITABLE_USER, LARGE = 0b111, 1 << 7
STACK_BYTES = 1 << 23
ARCH_PRCTL, ARCH_GET_FS = 158, 0x1003
HALT = b"\xf4"
ONLY_AVX512 = slice(16, 32)  #: vector registers that only its instructions reach


def import_bochs() -> Any:
    """The package, whose wheel wants two names of glibc 2.38 that older ones have as others."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "__isoc23_strtoull"):
        jumps = {"__isoc23_strtoull": "strtoull", "__isoc23_sscanf": "__isoc99_sscanf"}
        source = "".join(f'__asm__(".globl {new}\\n{new}: jmp {old}@PLT");\n' for new, old in jumps.items())
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, "names.so")
            subprocess.run(["cc", "-shared", "-o", library, "-xc", "-"], input=source, text=True, check=True)
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    import bochscpu.cpu
    import bochscpu.memory

    return bochscpu


class Pages:
    """The page tables. Pages are lent before the code runs: Python that fetched one that is missing would run in the
    midst of Python's own machine code, of its allocator for one.
    """

    def __init__(self, insert: Any) -> None:
        self._insert = insert
        self._tables: list[Any] = []
        self._lent: set[int] = set()
        self._new_table()

    def _new_table(self) -> int:
        physical = TABLES + PAGE * len(self._tables)
        self._tables.append((ctypes.c_uint64 * 512).from_buffer(mmap.mmap(-1, PAGE)))
        self._insert(physical, ctypes.addressof(self._tables[-1]))
        return physical

    def _below(self, table: int, entry: int) -> int:
        entries = self._tables[table]
        if not entries[entry]:
            entries[entry] = self._new_table() | PRESENT_WRITABLE_USER
        return (entries[entry] & -PAGE) - TABLES >> 12

    def _lend(self, number: int) -> None:
        physical = MEMORY + len(self._lent) * LARGE_PAGE
        directory = self._below(self._below(0, number >> 18), number >> 9 & 511)
        self._tables[directory][number & 511] = physical | PRESENT_WRITABLE_USER | LARGE
        for offset in range(0, LARGE_PAGE, PAGE):
            self._insert(physical + offset, number * LARGE_PAGE + offset)
        self._lent.add(number)

    def cover(self) -> None:
        """Lend the emulator all memory that the process can reach now."""
        for line in Path("/proc/self/maps").read_text().splitlines():
            ends, rights, *_ = line.split()
            low, high = (int(end, 16) for end in ends.split("-"))
            if rights[0] == "r" and high < 1 << 47:
                for number in range(low // LARGE_PAGE, -(-high // LARGE_PAGE)):
                    if number not in self._lent:
                        self._lend(number)


class Processor:
    """Calls functions, one at a time. Counts the calls, and those that used registers that only AVX-512 has."""

    def __init__(self) -> None:
        self._bochs = import_bochs()
        self._session = self._bochs.Session()
        self._pages = Pages(self._bochs.memory.page_insert)
        self._hook = self._bochs.Hook()
        self._hook.hlt = lambda session, _: session.stop()
        self._hook.exception = self._fail
        self._stack = ctypes.create_string_buffer(HALT, STACK_BYTES)
        self._lock = Lock()
        self._failure = ""
        self.calls = self.avx512_calls = 0

    def _fail(self, session: Any, _: int, vector: int, __: int) -> None:
        state = session.cpu.state
        self._failure = self._failure or f"exception {vector} at {state.rip:#x}, address {state.cr2:#x}"
        session.stop()

    def _segment(self, attributes: int, base: int = 0) -> Any:
        segment = self._bochs.Segment()
        segment.present, segment.selector, segment.base, segment.limit = True, 8, base, 0xFFFFFFFF
        segment.attr = attributes
        return segment

    def _start(self, address: int, arguments: tuple[int, ...]) -> Any:
        """Registers at the entry of a function, in ring 0 of 64-bit mode; it returns to a halt."""
        thread = ctypes.c_uint64()
        assert ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_GET_FS, ctypes.byref(thread)) == 0
        state = self._bochs.State()
        self._bochs.cpu.set_long_mode(state)
        state.cr0 |= 1 << 1  # MP
        state.cr4 |= 1 << 9 | 1 << 10 | 1 << 18  # OSFXSR, OSXMMEXCPT, OSXSAVE
        state.xcr0 = 0b11100111  # x87, SSE, AVX, three of AVX-512
        state.cr3 = TABLES
        state.rflags, state.mxcsr, state.fpcw, state.fptw = 1 << 1, 0x1F80, 0x37F, 0xFFFF
        state.cs = self._segment(0x209B)
        state.ds = state.es = state.ss = state.gs = self._segment(0xC093)
        state.fs = self._segment(0xC093, thread.value)
        for register, value in zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), arguments, strict=False):
            setattr(state, register, value)
        bottom = ctypes.addressof(self._stack)
        state.rip, state.rsp = address, (bottom + STACK_BYTES & -64) - 8
        ctypes.c_uint64.from_address(state.rsp).value = bottom
        return state

    def call(self, address: int, *arguments: int) -> int:
        """What the function at an address returns to up to six integers or pointers."""
        with self._lock:
            self._pages.cover()
            self._session.cpu.state = self._start(address, arguments)
            self._session.run([self._hook])
            if self._failure:
                raise RuntimeError(f"the emulated processor stopped: {self._failure}")
            state = self._session.cpu.state
            self.calls += 1
            self.avx512_calls += any(any(register.q) for register in state.zmm[ONLY_AVX512])
            return state.rax
