"""The cache of compiled kernels: never stale, never in the way."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types
from numba.core.caching import NullCache
from numba.core.compiler import Compiler
from numba.core.errors import NumbaError

from fastxent.cli.output import compiling_notice
from fastxent.kernels.compiler import cache as caching
from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.compiler.inlining import KernelCompiler
from fastxent.kernels.compiler.native import address_of, calling
from fastxent.kernels.rows.softmax_across import across
from tests.rows import score
from tests.shell import ROOT, fastxent, output, python, start
from tests.test_imports import FILES, ours

PACKAGE = ROOT / "fastxent"
KERNELS = sorted(str(path.relative_to(PACKAGE)) for path in (PACKAGE / "kernels").rglob("*.py"))

#: One small kernel that calls into others: its result depends on constants of vecmath.py.
PROGRAM = """
import numpy as np
from fastxent.kernels.functions import vecmath
from fastxent.kernels.compiler.cache import cache_folder, watch_compiling
from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.vector.memory import fetch, store

@kernel()
def run(x):
    store(x, 0, vecmath.exp(fetch(x, 0, 4)))

x = np.full(4, 0.3)
told = []
with watch_compiling(lambda: told.append(1)):
    run(x)
print(bool(told), end=" ")
print(x[0].hex(), sum(run.stats.cache_hits.values()), cache_folder(), end="")
"""


def answer(*arguments, **options):
    return python(PROGRAM, *arguments, **options).split()


@pytest.fixture
def package(tmp_path):
    """A copy of the package that may be edited."""
    shutil.copytree(PACKAGE, tmp_path / "fastxent", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A cache with the entries of the program, for tests to copy, and the number that it printed."""
    folder = tmp_path_factory.mktemp("compiled")
    first = answer(NUMBA_CACHE_DIR=str(folder))
    assert (first[0], first[2]) == ("True", "0")
    return folder, first[1]


@pytest.fixture
def cache(compiled, tmp_path):
    """A copy of that cache, as a variable of the environment."""
    return {"NUMBA_CACHE_DIR": str(shutil.copytree(compiled[0], tmp_path / "cache"))}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_edit_of_a_called_file_is_seen(package, compiled, cache):
    number, where = compiled[1], cache | {"PYTHONDONTWRITEBYTECODE": "1"}
    assert answer(package, **where)[:3] == ["False", number, "1"]
    vecmath = package / "fastxent/kernels/functions/vecmath.py"
    edit(vecmath, "0x1.55555555554fap-3", "0x1.65555555554fap-3")
    edited = answer(package, **where)
    assert edited[1] != number
    assert edited[2] == "0"
    edit(vecmath, "0x1.65555555554fap-3", "0x1.55555555554fap-3")
    assert answer(package, **where)[1:3] == [number, "1"]


def test_what_kernels_import_counts():
    """All modules outside the kernels' folder that kernels import, and those that these import."""
    kernels = {module for module in FILES if module.startswith("kernels")}
    found, left = set(), kernels
    while left:
        found |= left
        left = {other for module in left for other in ours(module)} - found
    outside = {str(FILES[module].relative_to(PACKAGE)) for module in found - kernels}
    # No compiled code comes from errors: the decorator raises one where nothing may be compiled.
    assert outside - {"base/__init__.py", "base/errors.py"} == {*caching.OUTSIDE}


@pytest.mark.parametrize("name", [*KERNELS, *caching.OUTSIDE])
def test_every_file_that_is_compiled_counts(monkeypatch, name):
    digest, read = caching.source_digest.__wrapped__, Path.read_bytes
    assert digest() == caching.source_digest()
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"\n" * (path == PACKAGE / name))
    assert digest() != caching.source_digest()


@pytest.fixture
def nowhere(package):
    """No folder can be made beside the sources: a file is in its place (as root, permissions bind nobody)."""
    (package / "fastxent/kernels/__pycache__").write_text("")
    return package


def test_an_install_that_cannot_be_written_uses_the_users_cache(nowhere, tmp_path):
    options = {"NUMBA_CACHE_DIR": None, "XDG_CACHE_HOME": str(tmp_path / "home")}
    assert answer(nowhere, **options)[3].startswith(str(tmp_path / "home"))
    assert answer(nowhere, **options)[2] == "1"


@pytest.mark.parametrize("named", [None, "/dev/null/cache"])
def test_nothing_can_be_written(nowhere, named):
    result = answer(nowhere, NUMBA_CACHE_DIR=named, XDG_CACHE_HOME=None, HOME="/dev/null/home")
    assert result[2:] == ["0", "None"]


def test_beside_the_sources_by_default(package):
    assert answer(package, NUMBA_CACHE_DIR=None)[3].startswith(str(package / "fastxent/kernels/__pycache__"))


def test_processes_that_start_at_once(compiled, tmp_path):
    cache = str(tmp_path / "cache")
    both = [start(["-c", PROGRAM], NUMBA_CACHE_DIR=cache) for _ in range(2)]
    assert [output(process).split()[1] for process in both] == [compiled[1]] * 2
    assert answer(NUMBA_CACHE_DIR=cache)[1:3] == [compiled[1], "1"]
    assert not [path for path in Path(cache).rglob("*") if path.is_file() and path.suffix != ".nbc"]


@pytest.mark.parametrize("damage", ["empty", "short", "zeros", "flipped"])
def test_damaged_entries_are_made_again(compiled, cache, damage):
    entries = list(Path(cache["NUMBA_CACHE_DIR"]).rglob("*.nbc"))
    assert entries
    for path in entries:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes({
            "empty": b"", "short": data[: len(data) // 2], "zeros": bytes(len(data)), "flipped": bytes(data),
        }[damage])  # fmt: skip
    assert answer(**cache)[1:3] == [compiled[1], "0"]
    assert answer(**cache)[1:3] == [compiled[1], "1"]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_costs_the_next_start_only(compiled, tmp_path):
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, {resource.RLIM_INFINITY}))\n"
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    result = python(limit + PROGRAM, **cache).split()
    assert result[1:3] == [compiled[1], "0"]
    assert answer(**cache)[1:3] == [compiled[1], "0"]
    assert os.path.isdir(result[3])


READ_ONLY = """
import builtins, errno, io, os, sys

def refused(call):
    def tried(path, mode="r", *rest, **named):
        if set("wax+") & set(mode if isinstance(mode, str) else "w") and str(path).startswith({folder!r}):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return call(path, mode, *rest, **named)
    return tried

builtins.open = io.open = refused(open)
"""


def test_a_folder_that_cannot_be_written_is_read(compiled, cache):
    """As if it were of an image, or on a file system that is mounted read-only."""
    folder = Path(cache["NUMBA_CACHE_DIR"])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    read_only = READ_ONLY.format(folder=str(folder))
    assert python(read_only + PROGRAM, **cache).split() == ["False", compiled[1], "1", "None"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    doctor = (
        "from fastxent.api.doctor import checkup; facts = checkup(); print(facts['cached_kernels'], facts['problems'])"
    )
    said = python(read_only + doctor, **cache)
    assert int(said.split()[0]) > 0
    assert "kernels that are not in it are compiled anew in every run" in said


def test_a_folder_that_has_gone(tmp_path):
    code = PROGRAM.replace("x = np", "import shutil; shutil.rmtree(cache_folder()); open(cache_folder(), 'w')\nx = np")
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")).split()[2] == "0"


FACTORIES = """
import sys
import numpy as np
from fastxent.kernels.compiler.compile import kernel

def caller(k):
    @kernel(variant=str(k))
    def inner(x, n):
        for i in range(n):
            for j in range(n):
                x[i] += k * (j + 1)
            x[i] = max(x[i], 0.5) / (1.0 + x[i]) + abs(x[i])
        return x[0]

    @kernel(variant=str(k))
    def outer(x, n):  # enough calls that none is inlined
        return inner(x, n) + inner(x, n - 1) + inner(x, n - 2) + inner(x, 2) + inner(x, n)

    return outer

print(*(caller(int(k))(np.zeros(5), 5) for k in sys.argv[1:]))
"""


def test_kernels_of_one_factory_that_meet_in_one_process(tmp_path):
    """Each was compiled in a process of its own, where Numba gave both the same running number."""

    def run(*numbers):
        process = start(["-c", FACTORIES, *numbers], NUMBA_CACHE_DIR=str(tmp_path))
        return output(process).split()

    alone = run("1") + run("2")
    assert len(set(alone)) == 2
    assert run("1", "2") == alone
    assert run("2", "1") == alone[::-1]


def test_every_variant_has_a_symbol_of_its_own():
    kernels = [across(kind, "int64", False, False) for kind in ("float32", "float64")]
    for kind in ("float32", "float64"):
        score(np.zeros((1, 3), kind), [0], "across", full=False)
    names = [next(iter(run.overloads.values())).fndesc.qualname for run in kernels]
    assert len(set(names)) == 2


PARTS = """
import sys
import numpy as np
from fastxent.kernels.compiler.compile import kernel

@kernel()
def half(x):
    if x.size == 0:
        raise ValueError("empty", x.ndim)  # needs the environment of this function
    for i in range(x.size):
        x[i] *= 0.5
    return x[0]

@kernel()
def first(x):
    return half(x) + half(x)

@kernel()
def second(x):
    return half(x) - half(x)

part = half.get_overload.__self__
for name in sys.argv[1:]:
    print(name, globals()[name](np.full(3, 8.0)), end=" ")
    try:
        globals()[name](np.zeros(0))
    except ValueError as error:
        assert error.args == ("empty", 1)
    else:
        raise AssertionError(name)
print(sum(part.stats.cache_hits.values()), len(part.overloads), len(half.overloads))
"""


def test_parts_of_kernels(tmp_path):
    """What kernels call is compiled for kernels only, once, whichever process they are compiled in."""

    def run(*names):
        return output(start(["-c", PARTS, *names], NUMBA_CACHE_DIR=str(tmp_path))).split()

    assert run("first") == ["first", "6.0", "0", "1", "0"]
    assert run("second", "first") == ["second", "2.0", "first", "6.0", "1", "1", "0"]
    assert run("second") == ["second", "2.0", "0", "0", "0"]  # machine code needs no parts
    assert run("half", "first") == ["half", "4.0", "first", "6.0", "0", "0", "1"]
    assert sorted(path.name.rsplit(".", 2)[0] for path in tmp_path.rglob("*.nbc")) == [
        "__main__.first", "__main__.half", "__main__.half.part", "__main__.second",
    ]  # fmt: skip


def uncached(function, name):
    made = kernel(variant=name)(function)
    made._cache = NullCache()
    return made


def test_a_kernel_called_by_its_address():
    signature = types.float64(types.float64, types.Array(types.float64, 1, "C"))

    def half(x, kept):
        if x < 0.0:
            raise ValueError("below 0")
        kept[0] = x
        return x / 2

    halved = uncached(half, "half")
    call, address = calling(signature), address_of(halved, signature)
    run = uncached(lambda at, x, kept: call(at, (x, kept)) + 1.0, "caller")
    kept = np.zeros(2)
    assert run(address, 3.0, kept) == 2.5
    assert run(address, np.int32(4), kept) == 3.0  # converted, as for any call
    assert kept.tolist() == [4.0, 0.0]
    with pytest.raises(ValueError, match="below 0"):
        run(address, -1.0, kept)
    for wrong in (kept.astype(np.float32), np.zeros(4)[::2], np.zeros((2, 2))):
        with pytest.raises(NumbaError, match="the machine code takes array"):
            run(address, 3.0, wrong)


def test_inlining_without_copies_gives_the_same_code():
    def part(x, n):
        total = 0.0
        for i in range(n):
            if i % 3 == 0:
                total += x * i
        return total

    def middle(x, n):
        return inner(x, n) - inner(x + 1.0, n)

    def outer(x, n):
        return nested(x, n) + inner(x, n) if n > 2 else nested(-x, n)

    codes = []
    for compiler in (Compiler, KernelCompiler):
        made = njit(pipeline_class=compiler, error_model="numpy", inline="always")
        inner = made(part)
        nested = made(middle)
        run = made(outer)
        assert run(0.5, 7) == outer(0.5, 7) == -4.5
        (code,) = run.inspect_asm().values()
        lines = [line for line in code.splitlines() if line.startswith("\t") and not line.startswith("\t.")]
        codes.append(re.sub(r"\w*_Z\w+", "a symbol", "\n".join(lines)))
    assert codes[0] == codes[1]
    assert len(codes[0].splitlines()) > 50


def test_a_warm_start_loads_nothing_to_compile_with(tmp_path):
    code = PARTS + "print('numba.np.arraymath' in sys.modules)"
    loaded = [output(start(["-c", code, "first"], NUMBA_CACHE_DIR=str(tmp_path))).split()[-1] for _ in range(2)]
    assert loaded == ["True", "False"]


def test_folders_that_nobody_used_for_long_go_when_a_new_one_is_made(tmp_path):
    month = 30 * 24 * 3600
    ages = {"kernels-0123456789abcdef": month + 3600, "kernels-fedcba9876543210": month - 3600, "other": 2 * month}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "an.nbc").write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    code = "from fastxent.kernels.compiler.cache import cache_folder; print(cache_folder())"
    made = python(code, NUMBA_CACHE_DIR=str(tmp_path)).strip()
    assert {path.name for path in tmp_path.iterdir()} == {"kernels-fedcba9876543210", "other", Path(made).name}
    os.utime(made, (0, 0))
    python(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert time.time() - os.stat(made).st_mtime < 600  # a start is a use


@pytest.mark.parametrize(("folder", "kept"), [(True, "kept for later"), (False, "not kept")])
def test_the_command_says_once_that_it_compiles(tmp_path, monkeypatch, capsys, folder, kept):
    monkeypatch.setattr(caching, "cache_folder", lambda: str(tmp_path) if folder else None)
    runs = [kernel(variant=str(k))(lambda x: x + 1) for k in range(2)]
    with compiling_notice():
        assert capsys.readouterr().err == ""
        assert [run(1) for run in runs] == [2, 2]
    said = capsys.readouterr().err
    assert said.count("compiling kernels") == 1
    assert kept in said
    with compiling_notice():
        assert [run(1) for run in runs] == [2, 2]
    assert capsys.readouterr().err == ""


def test_the_command_says_nothing_of_compiling_when_it_is_wrong_before(tmp_path):
    arguments = ["evaluate", ROOT / "data/digits.parquet", "--logits", "logits", "--target", "nothing"]
    done = fastxent(*arguments, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 3
    assert "compiling" not in done.stderr
