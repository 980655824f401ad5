"""The keywords of evaluate, score and compare: defined once, written out in each, and the same in the shell."""

from __future__ import annotations

import inspect
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import fastxent as fx
from fastxent.api.options import SIGNATURES
from fastxent.base.option import Option
from fastxent.cli.main import cli
from fastxent.cli.options import keyword_options
from tests import signatures

#: Keywords that mean something of their own: score writes what is kept, and compare has no arrays to group by.
OWN = {"score": {"data", "keep"}, "compare": {"group_by", "cluster_by", "on"}}
#: Keywords of Python -> what the shell has in their place.
SHELL = {"evaluate": {"data": "paths"}, "score": {"data": "paths"}, "compare": {"a": "paths", "b": "paths"}}
RESULTS = {"json_path", "html_path", "gates", "state_path", "summary", "baseline", "per_class"}


def keywords(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(fx, name)).parameters)


@pytest.mark.parametrize("path", dict.fromkeys(map(signatures.path_of, signatures.SIGNATURES)))
def test_signatures_are_those_of_the_definitions(path: Path) -> None:
    assert path.read_text() == signatures.written(path), "make signatures writes them anew"


def test_a_new_flag_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is defined is in the signature, in `help`, in the value that it belongs to, and in the shell."""
    flag = Option(name="run_name", annotation="str | None", doc="what the run is called.", brief="What it is called.")
    signature = replace(SIGNATURES["evaluate"], keywords=(*SIGNATURES["evaluate"].keywords, flag))
    monkeypatch.setitem(SIGNATURES, "evaluate", signature)
    monkeypatch.setitem(signatures.FIELDS, "RunOptions", (*signatures.FIELDS["RunOptions"], flag))
    text = signatures.written(signatures.path_of("evaluate"))
    assert "\n    run_name: str | None = None,\n" in text
    assert "\n        run_name: what the run is called.\n" in text
    assert "progress=progress, run_name=run_name,\n" in text
    command = click.command("evaluate")(keyword_options("evaluate")(lambda **keywords: print(keywords["run_name"])))
    assert CliRunner().invoke(command, ["--run-name", "third"]).output == "third\n"
    assert "--run-name TEXT" in (told := CliRunner().invoke(command, ["--help"]).output)
    assert "What it is called." in told


@pytest.mark.parametrize("name", SIGNATURES)
def test_help_says_what_the_definitions_say(name: str) -> None:
    told = " ".join((inspect.getdoc(attrgetter(name)(fx)) or "").split())
    for option in SIGNATURES[name].options:
        assert option.doc
        assert " ".join(f"{option.name}: {option.doc}".split()) in told


@pytest.mark.parametrize("name", OWN)
def test_shared_keywords_have_the_same_types_and_defaults(name: str) -> None:
    ours, theirs = keywords(name), keywords("evaluate")
    shared = (ours.keys() & theirs.keys()) - OWN[name]
    assert len(shared) > 20
    for each in shared:
        a, b = ours[each], theirs[each]
        assert (a.default, a.annotation, a.kind) == (b.default, b.annotation, b.kind), each


@pytest.mark.parametrize(
    "name", ["cross_entropy", "binary_cross_entropy", "focal_loss", "poly1_loss", "entropy", "kl_divergence"]
)
def test_functions_of_arrays_have_the_types_and_defaults_of_evaluate(name: str) -> None:
    """But for what they require, tell by dimensions, or annotate by the name of a type."""
    ours, theirs = keywords(name), keywords("evaluate")
    shared = ours.keys() & theirs.keys() - {"target", "task", "on_invalid"}
    assert len(shared) > 5
    for each in shared:
        assert (ours[each].default, ours[each].annotation) == (theirs[each].default, theirs[each].annotation), each
    assert ours.keys() - theirs.keys() == {"reduction"}


def test_score_has_the_keywords_of_evaluate_and_those_of_its_output() -> None:
    ours, theirs = keywords("score").keys(), keywords("evaluate").keys()
    assert theirs - ours == {"ledger", "shard"}  # its outputs are its ledger
    assert ours - theirs == {"out_path", "prefix", "overwrite", "resume"}


@pytest.mark.parametrize("name", SHELL)
def test_the_shell_has_the_same_options_with_the_same_defaults(name: str) -> None:
    command: Any = cli.get_command(click.Context(cli), name)
    options = {option.name: option for option in command.params}
    python = {SHELL[name].get(each, each): parameter for each, parameter in keywords(name).items()}
    assert options.keys() - RESULTS == python.keys()
    for each, parameter in python.items():
        default = parameter.default
        if isinstance(default, float | int | str) and not isinstance(default, bool) and not options[each].required:
            assert options[each].get_default(click.Context(command)) == default, each


def test_options_that_commands_share_say_the_same() -> None:
    def words(name: str) -> dict[str, str]:
        command: Any = cli.get_command(click.Context(cli), name)
        return {option.name: option.help for option in command.params if getattr(option, "help", None)}

    ours = words("evaluate")
    for name, own in (("score", {"keep"}), ("compare", {"group_by", "cluster_by", "on"})):
        shared = words(name).keys() & ours.keys() - own
        assert len(shared) > 15
        assert {each: words(name)[each] for each in shared} == {each: ours[each] for each in shared}
