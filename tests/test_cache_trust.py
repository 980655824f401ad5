"""Compiled code is run, so it is only taken from folders that nobody else can write into."""

from __future__ import annotations

import os

import pytest

from fastxent.kernels.compiler.cache import is_safe
from tests.shell import python

FOLDER = "from fastxent.kernels.compiler.cache import cache_folder; print(cache_folder())"


@pytest.mark.parametrize(("mode", "safe"), [(0o700, True), (0o755, True), (0o777, False), (0o757, False)])
def test_a_folder_that_others_can_write_is_not_used(tmp_path, mode, safe):
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    found = python(FOLDER, NUMBA_CACHE_DIR=str(folder)).strip()
    assert found.startswith(str(folder)) if safe else found == "None"


def test_a_folder_below_one_that_others_can_write_is_not_used(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert python(FOLDER, NUMBA_CACHE_DIR=str(tmp_path / "open" / "cache")).strip() == "None"
    (tmp_path / "open").chmod(0o1777)  # as /tmp: only owners rename what is in it
    assert python(FOLDER, NUMBA_CACHE_DIR=str(tmp_path / "open" / "mine")).strip().startswith(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_somebody_else(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    assert not is_safe(str(folder))
    assert is_safe(str(folder), anybodys=True)
    planted = folder / "kernels-0"
    planted.mkdir(mode=0o777)
    planted.chmod(0o777)
    assert not is_safe(str(planted), anybodys=True)


def test_no_path_depends_on_where_a_command_is_started(tmp_path):
    said = python(f"import os; os.chdir({str(tmp_path)!r}); {FOLDER}", NUMBA_CACHE_DIR="cache")
    assert said.strip() == "None"
    code = f"import os, os.path; os.path.expanduser = lambda path: path; os.chdir({str(tmp_path)!r}); {FOLDER}"
    assert "~" not in python(code, NUMBA_CACHE_DIR=None, XDG_CACHE_HOME=None)
    assert not list(tmp_path.iterdir())
