"""The sdist and the wheel: what is in them, and that a clean environment of every Python at hand scores with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fastxent as fx
from tests.documents import agree, blocks, commands, printed, prompted
from tests.shell import ROOT, environment

pytestmark = pytest.mark.package

DIGITS = ROOT / "data" / "digits.parquet"
PYTHONS = [f"python3.{minor}" for minor in range(11, 15)]
USER = """\
import numpy as np

import fastxent as fx

ev: fx.Evaluation = fx.evaluate("digits.parquet", logits="logits", target="label")
loss: float = ev.loss
rows: int = ev.num_rows
losses = fx.cross_entropy(np.array([0]), logits=np.array([[1.0, 2.0]]), reduction="none")
"""


def ran(*command: object, cwd: Path, fails: bool = False) -> str:
    """What a command printed, away from this checkout."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment(PYTHONPATH=None, PYTHONWARNINGS=None),
        text=True, capture_output=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    to = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--outdir", to, ROOT, cwd=to)
    return to


def tracked(folder: str) -> set[str]:
    """The files of a folder that are in the repository, or are about to be."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("what is in the repository is git's to say, and there is no git")
    told = ran("git", "ls-files", "--cached", "--others", "--exclude-standard", folder, cwd=ROOT)
    return {name for name in told.splitlines() if (ROOT / name).exists()}


def test_the_wheel_has_the_package_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == tracked("fastxent")
    assert {"fastxent/py.typed", "fastxent/report/page.html.j2"} <= names


def test_the_sdist_has_what_tests_and_benchmarks_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("fastxent", "tests", "bench", "data", "docs"):
        assert tracked(folder) <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile"} <= names


def found(name: str) -> Path | None:
    """A Python of this name that makes environments: on the path, or installed beside this one."""
    beside = sorted(Path(sys.base_prefix).parent.glob(f"*/bin/{name}"))
    for python in [*filter(None, [shutil.which(name)]), *beside]:
        if subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
            return Path(python)
    return None


@pytest.fixture(scope="module", params=PYTHONS)
def clean(request: pytest.FixtureRequest, dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what that asks for."""
    python = found(request.param)
    if python is None:
        pytest.skip(f"there is no {request.param} that makes environments")
    home = tmp_path_factory.mktemp("clean")
    ran(python, "-m", "venv", home / "venv", cwd=home)
    (wheel,) = dist.glob("*.whl")
    ran(home / "venv" / "bin" / "python", "-m", "pip", "install", "-qq", wheel, cwd=home)
    return home / "venv" / "bin" / "python"


def test_a_clean_environment_has_the_bits_of_this_one(clean: Path, tmp_path: Path) -> None:
    shutil.copy(DIGITS, tmp_path)
    told = ran(
        clean, "-c", "import fastxent as fx; print(fx.__file__, fx.evaluate('digits.parquet').loss.hex())", cwd=tmp_path
    )
    place, loss = told.split()
    assert place.startswith(os.fspath(clean.parent.parent))
    assert float.fromhex(loss) == fx.evaluate(DIGITS).loss
    assert "ECE" in ran(clean.parent / "fastxent", "evaluate", "digits.parquet", cwd=tmp_path)


def test_types_are_there_for_those_who_check_theirs(clean: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(USER + "text: str = ev.loss\nfx.evaluate(1, logit=2)\n")
    check = (sys.executable, "-m", "mypy", "--strict", "--python-executable", clean)
    assert "Success" in ran(*check, "right.py", cwd=tmp_path)
    found = ran(*check, "wrong.py", cwd=tmp_path, fails=True)
    assert found.count("error:") == 2, found
    assert "[assignment]" in found
    assert "[call-arg]" in found


def test_a_newcomer_follows_readme_and_tutorial(tmp_path: Path) -> None:
    """From a clean clone: ``make demo``, then the commands and the examples of both pages, as printed."""
    for name in tracked("."):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python = found(f"python3.{sys.version_info.minor}")
    if python is None or shutil.which("make") is None:
        pytest.skip("there is no make, or no Python that makes environments")
    assert "loss              0.107876" in ran("make", "demo", f"PYTHON={python}", cwd=tmp_path)
    installed = tmp_path / ".venv" / "bin"
    for page in ("README.md", "docs/tutorial.md"):
        for command in (
            each for block in blocks(tmp_path / page) if block.language == "console" for each in commands(block)
        ):
            got = printed(command.words, tmp_path, installed / "fastxent")
            assert agree(command.wanted, got), f"{page}:{command.line}\nshown:\n{command.wanted}\nprinted:\n{got}"
        shown = "".join(prompted(block) for block in blocks(tmp_path / page) if block.language == "pycon")
        ran(installed / "python", "-c", shown, cwd=tmp_path)
