"""How a pass is run, and where its rows are written: the definition of these keywords."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastxent.base.option import option

if TYPE_CHECKING:
    from fastxent.sources.source import Split

__all__ = ["Progress", "RowOutput", "RunOptions"]

#: What callers give: told of every finished split, with the number of rows in all (-1: unknown), from any thread.
Progress = Callable[["Split", int], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Threads and memory of a run, which no result shows, and who is told how far it is."""

    threads: int | None = option(
        None, "threads to use; all processors by default.", least=1, brief="Threads; all processors by default."
    )
    memory: int | str | None = option(
        None,
        'bytes of the data that all threads together may hold, about, or text such as "512M"; 256 MiB a thread by '
        "default.",
        reads="size",
        brief="Data that all threads together may hold; 256M each by default.",
    )
    runner: Any = option(
        None,
        'who scores: this process on threads (None); other processes ("processes", "processes:4"); or a cluster: a '
        '`dask.distributed.Client` or its "tcp://host:8786", a SparkSession or "spark://host:7077", "local[4]", or '
        '"ray", "ray://host:10001". The result has the same bits. Workers read the files themselves, so they must see '
        "them; ``memory`` is then that of one task.",
        annotation="Any",
        metavar="RUNNER",
        brief="Who scores: processes:4, tcp://host:8786 (Dask), spark://host:7077, local[4], ray, ray://...; threads "
        "by default.",
    )
    ledger: str | os.PathLike[str] | None = option(
        None,
        "a file that notes which splits are finished and what they left behind, so that the same call goes on after "
        "whatever ended it, with the bytes of an undisturbed run. It is made if it is not there; of other data "
        "(changed files too), options or another version it is refused.",
        metavar="FILE",
        brief="File that notes what is finished; the same command goes on from there.",
    )
    shard: str | None = option(
        None,
        '"3/100" scores the third of a hundred parts of about as many bytes each, for arrays of jobs; their states '
        "(``--state``) are put together by ``fastxent merge``, to the bytes of one run.",
        metavar="K/N",
        brief="Score part K of N; merge their --state files.",
    )
    progress: Progress | None = option(
        None, "called with every finished split and the number of rows in all (-1 if unknown), from any thread."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutput:
    """Where the results of rows are written, and what beside them."""

    out_path: str | os.PathLike[str] | None = option(
        None,
        "the file to write: Parquet, or CSV or TSV if it is named so (``rows.csv``, ``rows.tsv.gz``); None: the rows "
        "are returned as an Arrow table. A directory (one that exists, or a path that ends in a slash) gets one output "
        "for every input file, at the input's place below the directory that all inputs share; those that an earlier "
        "run has finished, of inputs that have not changed since, are not done again. Files and directories may lie in "
        "an object store (``s3://bucket/rows/``).",
        flag="-o --output",
        metavar="FILE|DIR/",
        brief="Parquet, .csv or .tsv (.gz, .zst) file to write; or a directory, with one file for each input file.",
    )
    keep: str | Iterable[str] | Mapping[str, Any] = option(
        (),
        "names of the columns to copy to the output (and to keep with the worst rows); without ``data``, arrays by "
        "name.",
        reads="columns",
        brief="Columns to copy to the output, and to keep with the worst rows.",
    )
    prefix: str = option(
        "",
        "put before the names of the score columns.",
        metavar="TEXT",
        brief="Put before the names of the score columns.",
    )
    overwrite: bool = option(
        False,
        "replace a file that exists. In a directory, outputs of the same call need no permission.",
        brief="Replace an output that exists.",
    )
    resume: bool = option(
        True,
        "False does finished outputs in a directory again.",
        flag="--no-resume",
        brief="With DIR/: do finished files again.",
    )
