"""From keywords to a job: the source is opened, the spec is made, and what is to be measured is checked against it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastxent.api.axes import rows_of_axis
from fastxent.base.byte_size import byte_size
from fastxent.base.errors import UsageError
from fastxent.base.kinds import as_floats
from fastxent.base.log_unit import Unit
from fastxent.data.batch import Matrix
from fastxent.data.options import LossOptions
from fastxent.data.spec import Form, Spec
from fastxent.data.stored_labels import StoredLabels
from fastxent.engine.ledger import Ledger, identity_of
from fastxent.engine.options import RunOptions
from fastxent.engine.plan import Plan, Scored, Shard, plan_of, shard_of
from fastxent.engine.runners.choose import check_travels, runner_of
from fastxent.engine.runners.runner import Runner
from fastxent.engine.runners.threads import thread_count
from fastxent.losses.base import READY, ReadyForm
from fastxent.results.evaluation import Evaluation
from fastxent.results.finish import finish
from fastxent.sources.object_kinds import is_array_file, is_paths, is_table
from fastxent.sources.open import Selection, Source, open_arrays, open_source
from fastxent.sources.options import Inputs
from fastxent.statistics.group_bins import bins_of, inner_quantiles, named_bins
from fastxent.statistics.options import Bins, Measures, Readings
from fastxent.statistics.registry import check_readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ExtraColumns", "Job", "edges_of", "one_form", "open_job", "prepare", "spec_of", "stored_labels", "that_apply",
]  # fmt: skip

#: What tables and frames have that can be read more than once.
_READ_AGAIN = ("num_rows", "height", "iloc", "collect_batches", "mapInArrow")
#: What a single array is called that a keyword was given without a name.
_UNNAMED = {"group_by": "group", "cluster_by": "cluster", "units": "units"}


class ExtraColumns:
    """Columns that ride along with the predictions; where these are arrays (not ``by_name``), arrays by name."""

    def __init__(self, *, by_name: bool) -> None:
        self.by_name = by_name
        self._found: dict[str, Any] = {}
        self._bins: dict[str, Bins] = {}

    @property
    def found(self) -> tuple[str, ...] | dict[str, Any]:
        """All that keywords have named so far."""
        return tuple(self._found) if self.by_name else self._found

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays by name; of columns the names alone."""
        return self._found

    def several(self, keyword: str, value: Any) -> tuple[str, ...]:
        """The names that a keyword gives: none, one or several."""
        return self._read(keyword, self._cut(value) if keyword == "group_by" else value, one=False)

    def _cut(self, value: Any) -> Any:
        """What is grouped by, without what it says of bins."""
        if self.by_name and isinstance(value, str | Iterable):
            if not isinstance(value, Mapping):
                named = (value,) if isinstance(value, str) else tuple(value)
                value = dict(named_bins(name) if isinstance(name, str) else (name, None) for name in named)
                if len(value) != len(named):
                    raise UsageError(f"group_by names a column twice: {', '.join(map(str, named))}")
            said = ((name, how) for name, how in value.items() if how is not None)
            self._bins |= {name: how if isinstance(how, int) else bins_of(name, how) for name, how in said}
            return tuple(value)
        if not isinstance(value, Mapping):
            return value
        found = {name: named_bins(name) if isinstance(name, str) else (name, None) for name in value}
        self._bins |= {column: bins for column, bins in found.values() if bins is not None}
        if len({column for column, _ in found.values()}) != len(value):
            raise UsageError(f"group_by names an array twice: {', '.join(map(str, value))}")
        return {found[name][0]: array for name, array in value.items()}

    @property
    def bins(self) -> tuple[tuple[str, Bins], ...]:
        """The columns to group by that are cut into bins, and where."""
        return tuple(self._bins.items())

    def one(self, keyword: str, value: Any) -> str | None:
        """The name that a keyword gives, if any."""
        return next(iter(self._read(keyword, value, one=True)), None)

    def _read(self, keyword: str, value: Any, *, one: bool) -> tuple[str, ...]:
        if value is None or (isinstance(value, tuple | list | dict) and not value):
            return ()
        if self.by_name:
            names = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
            if not all(isinstance(name, str) for name in names) or (one and len(names) != 1):
                more = "" if one else ", or several"
                raise UsageError(f"{keyword}: expected the name of a column{more}, got {value!r}")
            self._found |= dict.fromkeys(names)
            return names
        if not isinstance(value, Mapping):
            if keyword not in _UNNAMED or isinstance(value, str):
                raise UsageError(f"{keyword}: predictions are arrays, so give arrays by name: {{'country': values}}")
            value = {_UNNAMED[keyword]: value}
        if one and len(value) != 1:
            raise UsageError(f"{keyword}: expected one array, got {len(value)}")
        for name, array in value.items():
            if self._found.setdefault(name, array) is not array:
                raise UsageError(f"{keyword}: {name!r} names two different arrays")
        return tuple(value)


@dataclass(frozen=True, slots=True)
class Job:
    """A plan over a source that has been opened, and how what it leaves behind is read."""

    plan: Plan
    readings: Readings
    threads: int
    topk: bool
    runner: Runner
    shard: Shard | None

    @contextmanager
    def ledger(self, path: str | os.PathLike[str] | None, inputs: Inputs) -> Iterator[Ledger | None]:
        """The ledger at a path, if there is one, for as long as the job runs."""
        if path is None:
            yield None
            return
        asked = {each.name: getattr(inputs, each.name) for each in dataclasses.fields(inputs) if each.name != "data"}
        with closing(Ledger(path, identity_of(self.plan, asked), self.plan)) as ledger:
            yield ledger

    def evaluation(self, scored: Scored, facts: dict[str, Any]) -> Evaluation:
        """What was scored, read, with ``facts`` about the run."""
        return finish(self.plan, scored, facts, self.readings, topk=self.topk)


def open_job(
    inputs: Inputs,
    loss: LossOptions,
    measures: Measures,
    readings: Readings,
    run: RunOptions,
    extra: ExtraColumns,
    *,
    rows: bool = False,
) -> Job:
    """The job that the keywords of `evaluate` and `score` ask for.

    ``extra`` are the columns that ride along. With ``rows`` results of single rows are wanted, and so with a
    ``target_file``: a DataFrame of Spark is then read by this process.
    """
    if inputs.on is not None and inputs.target_file is None:
        raise UsageError("on pairs data with target_file, and there is none")
    threads = thread_count(run.threads)
    rows = rows or inputs.target_file is not None
    runner = runner_of(run.runner, threads, None if rows else inputs.data)
    source, spec = prepare(inputs, loss, memory=run.memory, threads=runner.readers, extra=extra.found)
    check_travels(source, runner)
    measures = dataclasses.replace(that_apply(measures, spec), edges=edges_of(extra, inputs, source))
    check_readings(spec, measures, readings)
    Unit(readings.base)
    plan, shard = plan_of(source, spec, measures), None
    if run.shard is not None:
        plan, shard = shard_of(plan, run.shard)
    return Job(plan, readings, threads, inputs.topk, runner, shard)


def edges_of(extra: ExtraColumns, inputs: Inputs, source: Source) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The edges of columns that are grouped by; where these are quantiles the column is read for them."""
    found = {}
    for name, bins in extra.bins:
        found[name] = bins if not isinstance(bins, int) else inner_quantiles(bins, _numbers_of(name, extra, inputs))
        if not found[name]:
            raise UsageError(f"group_by: {name!r} has not two numbers that differ, and so no quantiles between them")
        if isinstance(bins, int):
            shown = ", ".join(f"{edge:g}" for edge in found[name])
            source.notes = (*source.notes, f"{name!r} was read once more, for the edges of {bins} bins: {shown}")
    return tuple(found.items())


def _numbers_of(name: str, extra: ExtraColumns, inputs: Inputs) -> Iterator[NDArray[np.float64]]:
    """The numbers of a column that rides along, NaN where there is none."""
    alone = Selection((name,), None, task="binary", form="losses")
    if not extra.by_name:
        source = open_arrays(extra.arrays[name], None, task="binary", form="losses")
    elif inputs.data is None:
        source = open_source(name, dataclasses.replace(alone, predictions=()))
    elif is_table(inputs.data) and not any(hasattr(inputs.data, each) for each in _READ_AGAIN):
        raise UsageError(f"group_by: quantiles of {name!r} need a pass of their own, and a stream has one; give edges")
    else:
        source = open_source(inputs.data, alone, filter=inputs.filter, on_error=inputs.on_error)
    for batch in (batch for split in source.splits() for batch in source.read(split)):
        assert isinstance(batch.predictions, Matrix)
        numbers = np.array(as_floats(batch.predictions.values[:, 0], batch.predictions.kind), np.float64)
        yield numbers if batch.status is None else np.where(batch.status == 0, numbers, np.nan)


def that_apply(measures: Measures, spec: Spec) -> Measures:
    """The measures without what a loss that predicts no class does not have."""
    return measures if spec.definition.predicts_class else dataclasses.replace(measures, scores=False)


def prepare(
    inputs: Inputs,
    loss: LossOptions,
    *,
    memory: int | str | None = None,
    threads: int = 1,
    extra: tuple[str, ...] | Mapping[str, Any] = (),
) -> tuple[Source, Spec]:
    """The opened source and the spec that the keywords mean; ``memory`` is that of all threads together."""
    if inputs.ready_made:
        _check_ready_made(inputs)
    if inputs.axis is not None:
        inputs, extra, _ = rows_of_axis(inputs, extra)
    if inputs.format is not None or (isinstance(inputs.data, str) and inputs.data == "-"):
        from fastxent.sources.dataset.standard_input import open_standard_input

        inputs = dataclasses.replace(inputs, data=open_standard_input(inputs.data, inputs.format))
    if inputs.target_file is not None:
        inputs, extra = _with_target_file(inputs, extra)
    if inputs.data is not None and not (is_paths(inputs.data) or is_table(inputs.data) or _are_tables(inputs.data)):
        raise UsageError(
            f"data: expected a path, a list of paths, or a table, got {type(inputs.data).__name__}; arrays go by the "
            "name of what they are, without data: logits= (or probs=, log_probs=), and target="
        )
    form: Form | ReadyForm
    if _are_tables(inputs.data) and not inputs.ready_made:
        inputs, form, predictions = _inferred(inputs)
    else:
        form, predictions = one_form(**inputs.forms)
    if inputs.topk:
        _check_topk(inputs, loss)
    room = None if memory is None else byte_size(memory)
    share = None if room is None else max(1, room // threads)
    source = _open_predictions(inputs, form, predictions, extra, share, stored_labels(inputs, loss), room)
    return source, spec_of(inputs, loss, form, source)


def _with_target_file(inputs: Inputs, extra: Any) -> tuple[Inputs, tuple[str, ...]]:
    """Inputs that name the column of targets, and what rides along with the ids."""
    from fastxent.sources.labeled import label_column

    on = ExtraColumns(by_name=True).several("on", inputs.on)
    if not on or inputs.data is None or inputs.topk or inputs.ready_made:
        raise UsageError(
            "target_file: name the ids by on=, and predictions by columns of data (no arrays, top-k lists or losses)"
        )
    target = label_column(inputs.target_file, on) if inputs.target is None else inputs.target
    return dataclasses.replace(inputs, on=on, target=target), tuple(dict.fromkeys((*extra, *on)))


def _check_ready_made(inputs: Inputs) -> None:
    """What says how predictions are read has nothing to read beside losses."""
    for name in ("target", "mask", "class_names", "labels", "ids", "num_classes"):
        if getattr(inputs, name) is not None:
            form = one_form(**inputs.forms)[0]
            advice = "; for losses by label group_by it" if name == "target" else ""
            raise UsageError(f"{name} belongs to predictions, and {form} are ready-made; leave it out{advice}")


def one_form(**given: Any) -> tuple[Form | ReadyForm, Any]:
    """The one of logits, probs and log_probs, or of losses and target_log_probs, that was given."""
    named = [(name, value) for name, value in given.items() if value is not None]
    if len(named) != 1:
        what = " and ".join(name for name, _ in named) or "none of them"
        ready = "; or one of losses= and target_log_probs=" if given.keys() & set(READY) else ""
        raise UsageError(f"give exactly one of logits=, probs= and log_probs=, got {what}{ready}")
    return named[0]  # type: ignore[return-value]


def spec_of(inputs: Inputs, loss: LossOptions, form: Form | ReadyForm, source: Source) -> Spec:
    """The spec that the keywords mean for the predictions of a source."""
    return Spec.make(
        num_classes=source.num_classes,
        task=inputs.task,
        form=form,
        loss=loss.loss,
        soft=source.dense_target,
        label_smoothing=loss.label_smoothing,
        ignore_index=_ignored(inputs, loss, source),
        class_weight=loss.class_weight,
        pos_weight=loss.pos_weight,
        label_reduction=loss.label_reduction,
        weighted=inputs.weight is not None,
        on_invalid=loss.on_invalid,
        clip=loss.clip,
        normalize=loss.normalize,
        class_names=None if inputs.topk else _class_names(inputs, source),
        **loss.own,
    )


def stored_labels(inputs: Inputs, loss: LossOptions) -> StoredLabels | None:
    """What the values of the target mean, where the call says it."""
    if inputs.labels is None:
        return None
    if inputs.topk:
        raise UsageError("labels: the targets of top-k predictions are ids of classes, as they are stored")
    return StoredLabels.of(inputs.labels, loss.ignore_index)


def _class_names(inputs: Inputs, source: Source) -> tuple[str, ...] | None:
    """The names of the call or of the source, else the labels as text; they are better than numbers of columns."""
    own = source.class_names if inputs.class_names is None else tuple(inputs.class_names)
    numbered = own is not None and list(own) == list(map(str, range(len(own))))
    if inputs.labels is not None and inputs.task != "multilabel" and (own is None or numbered):
        return tuple(map(str, inputs.labels))
    return own


def _ignored(inputs: Inputs, loss: LossOptions, source: Source) -> int | None:
    """The label whose rows kernels ignore; with ``labels`` the source has found them, and it may be a class's index."""
    ignored = loss.ignore_index
    if ignored is None or inputs.labels is None or not 0 <= ignored < max(source.num_classes, 2):
        return ignored
    if inputs.task == "multilabel":
        raise UsageError(f"ignore_index: beside labels of a multilabel task it cannot be {ignored}; pass a mask")
    return None


def _are_tables(data: Any) -> bool:
    """Whether ``data`` names files of columns."""
    if data is not None and not is_paths(data):
        from fastxent.sources.dataset.dataset import Dataset

        return isinstance(data, Dataset)
    several = data if isinstance(data, (list, tuple)) else [data]
    return is_paths(data) and not any(map(is_array_file, several))


def _inferred(inputs: Inputs) -> tuple[Inputs, Form | ReadyForm, Any]:
    """Inputs over the data set, form and predictions: what the call says, and for the rest what the first file says.

    A task other than the default counts as said.
    """
    from fastxent.sources.dataset.dataset import find_dataset
    from fastxent.sources.dataset.description import describe_schema, with_partitions
    from fastxent.sources.dataset.infer import infer_selection

    dataset = find_dataset(inputs.data)
    inputs = dataclasses.replace(inputs, data=dataset)
    file, footer = dataset.first_readable(skips=inputs.on_error == "skip")
    schema = with_partitions(footer.schema, dataset.partitions[dataset.files.index(file)])
    found = describe_schema(schema, (file.name,), dataset.format, footer.num_rows, len(footer.rows))
    if any(value is not None for value in inputs.forms.values()):
        form, predictions = one_form(**inputs.forms)
        names = _columns_of(form, predictions)
        selection = infer_selection(
            found, predictions=names, target=inputs.target, task=inputs.task, dtype=inputs.dtype
        )
        return dataclasses.replace(inputs, target=selection.target, dtype=selection.dtype), form, names
    task = None if inputs.task == "multiclass" else inputs.task
    selection = infer_selection(found, target=inputs.target, task=task, dtype=inputs.dtype)
    said = next((each.form for each in found.predictions if each.columns == selection.predictions), None)
    if said is None:
        shown = ", ".join(selection.predictions[:4])
        raise UsageError(f"say what {shown!r} holds: logits=, probs= or log_probs=")
    inputs = dataclasses.replace(inputs, target=selection.target, task=selection.task, dtype=selection.dtype)
    return inputs, cast(Form, said), selection.predictions


def _columns_of(form: str, predictions: Any) -> tuple[Any, ...]:
    """The names of columns that a form of predictions was given."""
    if not isinstance(predictions, Iterable):
        raise UsageError(
            f"{form}: expected the name of a column, names, or a glob, got {type(predictions).__name__} of "
            f"{type(predictions).__module__.partition('.')[0]}"
        )
    return (predictions,) if isinstance(predictions, str) else tuple(predictions)


def _check_topk(inputs: Inputs, loss: LossOptions) -> None:
    """The options that top-k predictions cannot go with."""
    if loss.label_smoothing or loss.class_weight is not None:
        raise UsageError("top-k predictions go with neither label_smoothing nor class_weight")
    if loss.ignore_index is not None and loss.ignore_index >= 0:
        raise UsageError(f"top-k predictions: leave out the label by filter='{inputs.target} != {loss.ignore_index}'")


def _open_predictions(
    inputs: Inputs,
    form: Form | ReadyForm,
    predictions: Any,
    extra: tuple[str, ...] | Mapping[str, Any],
    memory: int | None,
    labels: StoredLabels | None,
    held: int | None,
) -> Source:
    """The source that ``data`` names, or, without it, the one over arrays or the files that hold them."""
    data, target, task = inputs.data, inputs.target, inputs.task
    names = None if inputs.class_names is None else tuple(inputs.class_names)
    if inputs.ready_made:
        task = "binary"  # one number a row
    elif target is None:
        raise UsageError("target: name the column (or give the array) of the targets")
    if data is not None:
        columns = _columns_of(form, predictions)
        for name in (*columns, *(() if target is None else (target,))):
            if not isinstance(name, str):
                raise UsageError(f"data has columns, which are named by text, got {name!r:.200}")
        own = None if inputs.target_file is not None else target
        selection = Selection(
            columns, own, task=task, weight=inputs.weight, mask=inputs.mask, extra=tuple(extra),
            class_names=names, dtype=inputs.dtype, ids=inputs.ids, num_classes=inputs.num_classes, form=form,
            labels=labels,
        )  # fmt: skip
        source = open_source(
            data, selection, memory=memory, verify_checksums=inputs.verify_checksums, filter=inputs.filter,
            on_error=inputs.on_error,
        )  # fmt: skip
        if inputs.target_file is None:
            return source
        from fastxent.sources.labeled import LabeledSource, Labels

        own, on = inputs.target_file, tuple(inputs.on or ())
        return LabeledSource(source, own if isinstance(own, Labels) else Labels(own, on, target, held), task, labels)
    if inputs.filter is not None:
        raise UsageError("filter needs columns, which arrays do not have; slice the arrays")
    if inputs.topk:
        raise UsageError("top-k predictions are read from tables: give data, and the names of the columns")
    if isinstance(predictions, str | os.PathLike):
        selection = Selection(
            (), None if target is None else os.fspath(target), task=task, weight=inputs.weight, mask=inputs.mask,
            extra=tuple(extra), class_names=names, dtype=inputs.dtype, form=form, labels=labels,
        )  # fmt: skip
        return open_source(os.fspath(predictions), selection)
    return open_arrays(
        predictions, target, weight=inputs.weight, mask=inputs.mask, task=task, class_names=names,
        dtype=inputs.dtype, extra=dict(extra) if isinstance(extra, Mapping) else None, labels=labels, form=form,
    )  # fmt: skip
