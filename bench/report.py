"""Tables and plots of the documents, made from a result; never typed.

A document says where: everything between ``<!-- bench:start NAME -->`` and ``<!-- bench:end -->`` is replaced by
the table NAME (a family, or "summary", "peaks", "machine"); without NAME it is the summary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.measure import OURS, Measurement
from bench.results import FOLDER, Result, load
from bench.show import gigabytes_per_second, in_units

__all__ = ["fill", "tables", "write"]

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/performance.md")
MARKED = re.compile(r"(<!-- bench:start(?: ([\w-]+))? -->\n).*?(<!-- bench:end -->)", re.DOTALL)

#: What the front page shows: enough to judge by, wins and losses alike.
SUMMARY = ("10M x 10", "2M x 100", "200k x 1000", "2k x 128000", "binary 100M")
SUMMARY_FILES = ("2M x 10, list, snappy", "2M x 10, column a class, snappy", "100k x 200, packed, snappy")

#: Plots that stand below the table of a family.
IMAGES = {
    "memory": "![Seconds and peak memory against rows](images/growth.svg)",
    "classes": "![Speed against classes](images/classes.svg)",
    "threads": "![Speed-up against threads](images/threads.svg)",
}

Cell = Callable[[Measurement | None], str]


def write(name: str) -> list[str]:
    """Fill the documents and draw the plots from ``results/<name>.json``; returns what was done, a line each.

    A quick run is no result: its report is a preview beside the JSON, and leaves the documents alone.
    """
    path = FOLDER / f"{name}.json"
    if not path.exists():
        return [f"bench/results/{name}.json: there is none yet; run python -m bench first"]
    result = load(path.read_text())
    quick = result.settings.get("scale") != 1.0
    target = FOLDER / name if quick else ROOT
    made = tables(result)
    said = []
    for document in DOCUMENTS:
        source = ROOT / document
        if not source.exists():
            said.append(f"{document}: there is none; left out")
            continue
        text, unknown = fill(source.read_text(), made)
        said += [f"{document}: no table is called {missing!r}; left as it is" for missing in unknown]
        (target / document).parent.mkdir(parents=True, exist_ok=True)
        (target / document).write_text(text)
        said.append(f"{document}: written" + (f" to {(target / document).relative_to(ROOT)}" if quick else ""))
    from bench import plots

    return said + [f"{made.relative_to(ROOT)}: drawn" for made in plots.draw(result, target / "docs" / "images")]


def fill(text: str, made: dict[str, str]) -> tuple[str, list[str]]:
    """The text with its marked places filled, and the names of places there is no table for."""
    unknown: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match[2] or "summary"
        if name not in made:
            unknown.append(name)
            return match[0]
        return f"{match[1]}{made[name]}\n{match[3]}"

    return MARKED.sub(replace, text), unknown


def tables(result: Result) -> dict[str, str]:
    """Every table of a result as Markdown, by name."""
    made = {family: _family(result, family) for family in result.families()}
    made["machine"] = _machine(result)
    if "memory" in made:
        made["memory"] = _grid(result, "memory", None, _peak, ours_first=True)
    for family, image in IMAGES.items():
        if family in made:
            made[family] += f"\n\n{image}"
    if "arrays" in made:
        made["summary"] = f"{_summary(result)}\n\n{made['machine']}"
        made["peaks"] = _grid(result, "arrays", None, _peak, ours_first=True, without=("plain read",))
    return made


def _family(result: Result, family: str) -> str:
    return _grid(result, family, None, ratio)


def _summary(result: Result) -> str:
    parts = [_grid(result, "arrays", SUMMARY, ratio, without=("plain read",))]
    if "parquet" in result.families():
        readers = ("pyarrow read_table", "pyarrow row groups", "fastxent evaluate")
        parts.append(_grid(result, "parquet", SUMMARY_FILES, ratio, without=readers))
    return "\n\n".join(parts)


def _grid(
    result: Result,
    family: str,
    cases: Sequence[str] | None,
    cell: Cell,
    *,
    ours_first: bool = False,
    without: Sequence[str] = (),
) -> str:
    """A row a case, a column a contender.

    Unless ``ours_first``, fastxent's time, rate and share of a plain read stand first.
    """
    found = [m for m in result.measurements if m.family == family and (cases is None or m.case in cases)]
    names = [name for name in dict.fromkeys(m.contender for m in found) if name not in without]
    others = names if ours_first else [name for name in names if name != OURS]
    leading: dict[str, Cell] = {} if ours_first else _leading([m for m in found if m.contender == OURS])
    rows = []
    for case in dict.fromkeys(m.case for m in found):
        by_name = {m.contender: m for m in found if m.case == case}
        first = [show(by_name.get(OURS)) for show in leading.values()]
        rows.append([case, *first, *(cell(by_name.get(name)) for name in others)])
    return _markdown(["", *leading, *others], rows)


def _leading(ours: Sequence[Measurement]) -> dict[str, Cell]:
    """Columns about fastxent itself, those that anything is known for."""
    shown: dict[str, Cell] = {"fastxent": _seconds, "GB/s": _rate, "of plain read": _share}
    return {head: show for head, show in shown.items() if head == "fastxent" or any(show(m) for m in ours)}


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _seconds(m: Measurement | None) -> str:
    return "n/a" if m is None or m.seconds_median is None else in_units(m.seconds_median)


def _rate(m: Measurement | None) -> str:
    rate = None if m is None else gigabytes_per_second(m)
    return "" if rate is None else f"{rate:.1f}"


def _share(m: Measurement | None) -> str:
    return "" if m is None or m.share_of_read is None else f"{100 * m.share_of_read:.0f} %"


def ratio(m: Measurement | None) -> str:
    """Time over fastxent's: "3.1×" took 3.1 times as long. A star marks times scaled from fewer rows."""
    if m is None:
        return ""
    if m.ratio is None:
        return "n/a" if m.note.startswith("not available") else "failed"
    digits = 0 if m.ratio >= 20 else 1 if m.ratio >= 2 else 2
    return f"{m.ratio:.{digits}f}×" + ("*" if m.note.startswith("scaled") else "")


def _peak(m: Measurement | None) -> str:
    return "" if m is None or m.peak_bytes is None else f"{m.peak_bytes / 2**20:,.0f} MiB"


def _machine(result: Result) -> str:
    facts = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    flags = " and ".join(flag for flag in facts["flags"] if flag.startswith(("avx", "asimd")))
    threads = result.settings["threads"]
    return (
        f"{facts['cpu']} ({flags}), {threads} thread{'s' if threads != 1 else ''}, {facts['memory_gib']} GiB, "
        f"Python {facts['python']}, {versions}; {result.date}."
    )
