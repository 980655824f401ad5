"""fastxent doctor: the machine and the installation."""

from __future__ import annotations

import json
import sys

import click

from fastxent.base.text import printable
from fastxent.cli.output import EXIT_DATA

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(as_json: bool) -> None:
    """Versions, processor, cache and threads: what to put into a bug report."""
    from fastxent.api.doctor import checkup

    facts = checkup()
    if as_json:
        click.echo(json.dumps({"schema": "fastxent.doctor/1"} | facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else value
        click.echo(f"{name.replace('_', ' '):<{width}}  {printable(shown)}")
    for problem in facts["problems"]:
        click.echo(f"problem: {printable(problem)}", err=True)
    if facts["problems"]:
        sys.exit(EXIT_DATA)
