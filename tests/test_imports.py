"""Which module may import which, where printing happens, and what a start costs."""

from __future__ import annotations

import ast
import graphlib
from functools import cache
from itertools import pairwise

import pytest

from tests.shell import ROOT, python

PACKAGE = ROOT / "fastxent"


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}

#: The layers of the package from the ground up: folders, or single modules. A module belongs to the longest name that
#: it starts with, and imports what is above that name in this list, or beside it in the same layer.
LAYERS = """
base
kernels
kernels.compiler
kernels.vector
kernels.functions
kernels.contract
kernels.sums
kernels.rows
kernels.block_loop
kernels.parquet
losses
data
sources.object_kinds
sources.per_thread
sources.skipped
sources.read_errors
sources.dataset.files
sources.pages
sources
sources.source
sources.decode
sources.dataset
sources.filter_text
sources.filter
sources.arrays
sources.arrow
sources.parquet
sources.text
sources.flattened
sources.labeled
sources.open
statistics
totals
storage
engine
results
comparison
report
api
sklearn
cli
__init__
__main__
""".split()

#: (importing module, imported layer) -> why it may.
EXCEPTIONS = {
    ("comparison.result", "report"): "a result writes its own page",
    ("results.evaluation", "report"): "a result writes its own page",
}

#: (importing module, imported module) of circles -> why they may be.
CIRCLES = {
    ("comparison.result", "report.write"): "a result writes its own page",
    ("results.evaluation", "report.write"): "a result writes its own page",
}

#: what faces the shell
SHELL = ("cli", "__main__")
#: imports of every one of these is deferred, and only for those who ask
HEAVY = {"dask", "distributed", "duckdb", "jax", "matplotlib", "pandas", "polars", "pyspark", "ray", "torch"}


@cache
def imports(path, *, top_only=False):
    """Absolute names that a file imports: all of them, also deferred ones and those for types alone."""
    tree = ast.parse(path.read_text())
    if top_only:
        tree.body = [node for node in tree.body if not isinstance(node, ast.If)]
    found = []
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by absolute name"
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


def ours(module):
    """Modules of the package that a module imports."""
    for name in imports(FILES[module]):
        if name.split(".")[0] == "fastxent":
            parts = name.split(".")[1:]
            known = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
            yield next((found for found in known if found in FILES), "__init__")


def layer_of(module):
    parts = module.split(".")
    return next(name for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in LAYERS)


@pytest.mark.parametrize("module", FILES)
def test_layers(module):
    own = layer_of(module)
    for other in ours(module):
        if (module, layer_of(other)) not in EXCEPTIONS and module != "__init__":
            assert LAYERS.index(layer_of(other)) <= LAYERS.index(own), f"{module} imports {other}, which is above it"


def test_exceptions_are_needed():
    for module, layer in EXCEPTIONS:
        assert layer in map(layer_of, ours(module)), f"{module} no longer imports {layer}"


def test_no_cycles():
    """No two modules import each other, by whatever way, deferred or for types alone."""
    graph = {
        module: {other for other in ours(module) if (module, other) not in CIRCLES} - {module}
        for module in FILES
        if module != "__init__"
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        cycle = " <- ".join(f"{a}" for a, _ in pairwise(error.args[1]))
        pytest.fail(f"these import each other: {cycle}")


def test_nothing_but_folders_at_the_top():
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == {"__init__.py", "__main__.py", "py.typed"}


@pytest.mark.parametrize("module", [module for module in FILES if not module.startswith(SHELL)])
def test_only_the_command_prints(module):
    names = set(imports(FILES[module]))
    assert not {"click", "rich"} & {name.split(".")[0] for name in names}
    tree = ast.parse(FILES[module].read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [name for name in calls if isinstance(name, ast.Name) and name.id == "print"]


@pytest.mark.parametrize("module", FILES)
def test_llvm_is_known_to_the_vector_type_and_the_compiler_only(module):
    if not module.startswith(("kernels.vector.", "kernels.compiler.")):
        assert not [name for name in imports(FILES[module]) if name.startswith("llvmlite")]


@pytest.mark.parametrize("module", FILES)
def test_heavy_imports_wait(module):
    assert not HEAVY & {name.split(".")[0] for name in imports(FILES[module], top_only=True)}


@pytest.mark.parametrize(
    "code",
    [
        "import fastxent; dir(fastxent); fastxent.UsageError; fastxent.Spec",
        "import sys; sys.argv = ['fastxent', '--help']\n"
        "from fastxent.cli.main import main\ntry: main()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['fastxent', 'evaluate', '--help']\n"
        "from fastxent.cli.main import main\ntry: main()\nexcept SystemExit: pass",
    ],
)
def test_a_glance_loads_no_compiler(code):
    loaded = python(code + "\nimport sys; print('LOADED', *sys.modules)").split("LOADED")[1].split()
    assert not {"numba", "numpy", "pyarrow", "rich"} & set(loaded)


def test_arrays_need_no_pyarrow():
    code = "import fastxent, sys; fastxent.cross_entropy([0], logits=[[1.0, 2.0]]); print('pyarrow' in sys.modules)"
    assert python(code) == "False\n"
