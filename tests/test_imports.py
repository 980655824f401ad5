"""Which module may import which, where printing happens, and what a start costs."""

from __future__ import annotations

import ast

import pytest

from tests.shell import ROOT, python

PACKAGE = ROOT / "fastxent"
FILES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}

#: module or folder -> what of ours it may import (itself is always allowed). What is not named here may import
#: anything below it that does not import it back, which the test of cycles sees to.
ALLOWED = {
    "errors": set(),
    "status": set(),
    "exact": set(),
    "kernels": {"exact", "status"},
    "spec": {"errors"},
    "unit": {"errors"},
    "batch": {"errors"},
    "sources": {"batch", "errors", "spec", "status"},
    "faults": {"batch", "errors", "status", "totals"},
    "statistics": {"batch", "errors", "exact", "faults", "kernels", "spec", "status", "unit"},
    "scores": {"batch", "errors", "kernels", "spec", "statistics", "totals"},
    "totals": {"errors", "exact", "kernels", "spec", "statistics", "status"},
    "readings": {"errors", "exact", "kernels", "spec", "statistics", "totals", "unit"},
    "evaluation": {
        "document",
        "errors",
        "faults",
        "kernels",
        "readings",
        "report",
        "statistics",
        "status",
        "summary",
        "totals",
        "unit",
    },
}
#: what faces the shell
SHELL = {"cli"}
#: imports of every one of these is deferred, and only for those who ask
HEAVY = {"dask", "distributed", "duckdb", "jax", "matplotlib", "pandas", "polars", "pyspark", "torch"}


def imports(path, *, top_only=False):
    """Absolute names that a file imports, those under TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by absolute name"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def ours(path):
    """Parts of the package (a module, or a folder as a whole) that a file imports."""
    names = (name.split(".")[1:] for name in imports(path) if name.startswith("fastxent."))
    known = {module.split(".")[0] for module in FILES}
    return {name[0] for name in names if name[0] in known}


@pytest.mark.parametrize("module", FILES)
def test_directions(module):
    part = module.split(".")[0]
    if part in ALLOWED:
        assert ours(FILES[module]) <= ALLOWED[part] | {part}
    if part not in SHELL:
        assert not ours(FILES[module]) & SHELL
        assert not {"click", "rich"} & {name.split(".")[0] for name in imports(FILES[module])}


def test_no_cycles():
    graph = {}
    for module, path in FILES.items():
        if module != "__init__":
            graph.setdefault(module.split(".")[0], set()).update(ours(path))
    while graph:
        free = [part for part, needs in graph.items() if not (needs - {part}) & graph.keys()]
        assert free, f"these import each other: {sorted(graph)}"
        for part in free:
            del graph[part]


@pytest.mark.parametrize("module", [module for module in FILES if module not in SHELL])
def test_only_the_command_prints(module):
    tree = ast.parse(FILES[module].read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [name for name in calls if isinstance(name, ast.Name) and name.id == "print"]


@pytest.mark.parametrize("module", FILES)
def test_llvm_is_known_to_the_vector_type_and_the_cache_only(module):
    if module not in ("kernels.simd", "kernels.memory", "kernels.cache", "kernels.parts"):
        assert not [name for name in imports(FILES[module]) if name.startswith("llvmlite")]


@pytest.mark.parametrize("module", FILES)
def test_heavy_imports_wait(module):
    assert not HEAVY & {name.split(".")[0] for name in imports(FILES[module], top_only=True)}


@pytest.mark.parametrize(
    "code",
    [
        "import fastxent; dir(fastxent); fastxent.UsageError; fastxent.Spec",
        "import sys; sys.argv = ['fastxent', '--help']\n"
        "from fastxent.cli import main\ntry: main()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['fastxent', 'evaluate', '--help']\n"
        "from fastxent.cli import main\ntry: main()\nexcept SystemExit: pass",
    ],
)
def test_a_glance_loads_no_compiler(code):
    loaded = python(code + "\nimport sys; print('LOADED', *sys.modules)").split("LOADED")[1].split()
    assert not {"numba", "numpy", "pyarrow", "rich"} & set(loaded)


def test_arrays_need_no_pyarrow():
    code = "import fastxent, sys; fastxent.cross_entropy([0], logits=[[1.0, 2.0]]); print('pyarrow' in sys.modules)"
    assert python(code) == "False\n"
