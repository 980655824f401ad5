"""Ray as a runner: chunks are tasks whose parts are joined where they lie, some at a time.

Ray runs again what a lost worker had done, and gives a task up when several workers died of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastxent.base.errors import FastxentError
from fastxent.engine.plan import Part
from fastxent.engine.runners.runner import FAN_IN, Runner, groups_of, in_order, need, one_by_one
from fastxent.engine.work import Chunk, Sent, Work, do, joined, send

__all__ = ["Ray"]

#: How often Ray runs a task again whose worker died.
RETRIES = 3


class Ray(Runner):
    """The Ray that is running, or the one at an address; "ray" starts one here if there is none."""

    def __init__(self, address: str) -> None:
        self.name = address
        self._ray: Any = None
        self._own = False

    def __enter__(self) -> Ray:
        self._ray = need("ray", "ray")
        if not self._ray.is_initialized():
            try:
                self._ray.init(address=None if self.name == "ray" else self.name, log_to_driver=False)
            except (ConnectionError, OSError, ValueError) as error:
                raise FastxentError(f"{self.name}: no Ray can be reached: {error}") from error
            self._own = True
        self.workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        return self

    def __exit__(self, *error: Any) -> None:
        if self._own:
            self._ray.shutdown()

    def results(self, work: Work, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Part]]:
        """The parts of the chunks."""
        ray, sent = self._ray, send(work)
        there = ray.put(sent)
        score = ray.remote(max_retries=RETRIES)(_do)
        join = ray.remote(max_retries=RETRIES)(_joined)
        died = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError)
        begun: dict[Chunk, list[Any]] = {}

        def begin(group: Sequence[Chunk]) -> Any:
            parts = [score.options(name=work.name(chunk)).remote(there, chunk) for chunk in group]
            whole = join.remote(*parts)
            begun[tuple(number for chunk in group for number in chunk)] = [*parts, whole]
            return whole

        def end(numbers: Chunk, future: Any) -> Part:
            try:
                part: Part = ray.get(future)
            except ray.exceptions.RayError as error:
                if isinstance(error, died) or isinstance(getattr(error, "cause", None), died):
                    return one_by_one(work, numbers, lambda single: ray.get(score.remote(there, single)), died)
                raise FastxentError(f"{self.name}: {work.name(numbers)}: {type(error).__name__}: {error}") from error
            del begun[numbers]
            return part

        try:
            yield from in_order(groups_of(work, chunks), begin, end, 2 + 4 * self.workers // FAN_IN)
        finally:
            for future in [future for futures in begun.values() for future in futures]:
                ray.cancel(future, force=True)


def _do(sent: Sent, numbers: Chunk) -> Part:
    return do(sent, numbers)


def _joined(*parts: Part) -> Part:
    return joined(parts)
