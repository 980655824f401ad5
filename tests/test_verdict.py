"""What a report says first: of models that are good, miscalibrated, of exchanged classes, and broken in a slice."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fastxent as fx
from fastxent.report.verdict import Verdict, judge_comparison, judge_evaluation
from tests.test_report import Page

N = 12_000
CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox"]
SITES = np.array(["north", "south", "east", "west"])


def rows(task: str, seed: int = 0) -> tuple[Any, Any, Any]:
    """Logits, targets that are drawn from them, so that these are the best there are, and a column to group by."""
    rng = np.random.default_rng(seed)
    site = SITES[rng.integers(0, 4, N)]
    if task == "binary":
        z = 2.5 * rng.normal(size=N)
        return z, (z + rng.logistic(size=N) > 0).astype(int), site
    z = 2.5 * rng.normal(size=(N, len(CLASSES)))
    return z, (z + rng.gumbel(size=z.shape)).argmax(axis=1), site


def broken(z: Any, how: str, site: Any) -> Any:
    """The logits of a model that is broken in one way."""
    if how == "miscalibrated":
        return 4.0 * z
    if how == "exchanged":
        return -z if z.ndim == 1 else z[:, [0, 1, 4, 3, 2, 5]]
    if how == "slice":
        return np.where((site == "west").reshape(-1, *[1] * (z.ndim - 1)), -z, z)
    return z


def evaluated(task: str, how: str, *, weighted: bool = False, n: int = N) -> Any:
    z, y, site = rows(task)
    more: dict[str, Any] = {"weight": np.random.default_rng(1).uniform(0.5, 2.0, N)[:n]} if weighted else {}
    if task == "multiclass":
        more["class_names"] = CLASSES
    return fx.evaluate(
        logits=broken(z, how, site)[:n], target=y[:n], task=task, group_by={"site": site[:n]}, statistics="temperature",
        **more,
    )  # fmt: skip


SAID = {
    "good": r"^Nothing stands out against the model: its loss is \d+ % below that of the base rate, its calibration "
    r"error is 0\.0\d+, no slice is surely worse by much\.$",
    "miscalibrated": r"it is (badly )?miscalibrated \(it is 9\d\.\d % sure on average, and right in [678]\d\.\d %\)",
    "exchanged": r"^The model should not ship as it is: .*classes cat and eel look exchanged",
    "slice": r"^The model should not ship as it is: .*it fails in site = west \(loss [\d.]+, more than the base rate\)",
}
BINARY = {
    "good": SAID["good"],
    "miscalibrated": r"it is (badly )?miscalibrated \(too sure of either class\)",
    "exchanged": r"^The model should not ship as it is: .*it ranks backwards",
    "slice": SAID["slice"],
}


@pytest.mark.filterwarnings("ignore::fastxent.DoubtWarning")  # exchanged classes of two are doubted
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", ["multiclass", "binary"])
@pytest.mark.parametrize("how", SAID)
def test_the_report_says_what_is_wrong(task: str, how: str, weighted: bool) -> None:
    ev = evaluated(task, how, weighted=weighted)
    verdict = judge_evaluation(ev)
    said = (SAID if task == "multiclass" else BINARY)[how]
    assert re.search(said, verdict.sentence), verdict
    assert (verdict.tone == "good") is (how == "good")
    page = Page(ev.to_html())
    assert verdict.sentence in page.text
    assert f"<p><b>{verdict.sentence}</b></p>" in ev._repr_html_()
    for finding in verdict.findings:
        assert finding.text in page.text
    assert page.text.index(verdict.sentence) < page.text.index("Loss (nats)")
    if how == "miscalibrated":
        assert any("Logits divided by 4 would lose" in finding.text for finding in verdict.findings)
    others = {"miscalibrated": "miscalibrated", "exchanged": "exchanged", "slice": "site ="}
    if how in ("good", "slice"):  # a broken slice costs calibration too
        assert not any(others["exchanged"] in finding.text for finding in verdict.findings)
    if how != "slice":
        assert not any(others["slice"] in finding.text for finding in verdict.findings)


def test_the_slice_is_named_with_what_it_carries() -> None:
    ev = evaluated("multiclass", "slice")
    (said,) = [each.text for each in judge_evaluation(ev).findings if "site = west" in each.text]
    west = ev.group("west")
    share = west.num_rows / ev.num_rows
    carried = west.fields["sum"] / ev.fields["sum"]
    assert f"Its {100 * share:.1f} % of the rows carry {100 * carried:.1f} % of the losses." in said
    assert f"loss {west.loss:.4g} against {ev.loss:.4g} of all rows" in said
    z, y, site = rows("multiclass")
    rest = site != "west"
    assert f"Without it the loss would be {fx.cross_entropy(y[rest], logits=z[rest]):.4g}." in said
    assert judge_evaluation(ev).sentence.startswith("The model should not ship as it is: it fails in site = west (loss")
    assert f"accuracy {100 * west.accuracy:.1f} % against {100 * ev.accuracy:.1f} %" in said


def test_slices_of_crossed_columns_are_found() -> None:
    z, y, site = rows("multiclass")
    day = np.arange(N) % 5
    bad = (site == "west") & (day == 3)
    ev = fx.evaluate(
        logits=np.where(bad[:, None], -z, z), target=y, group_by={"site": site, "day": day}, class_names=CLASSES
    )
    assert "day = 3" in judge_evaluation(ev).sentence or "site = west" in judge_evaluation(ev).sentence
    calm = (site == "west") & (day == 3) & (np.arange(N) % 20 == 3)  # 1 % of the rows: columns alone hide it
    ev = fx.evaluate(logits=np.where(calm[:, None], z / 4, z), target=y, group_by={"site": site, "day": day})
    found = [each.text for each in judge_evaluation(ev).findings if "surely worse:" in each.text]
    assert all("site = west, day = 3" in text for text in found)


@pytest.mark.parametrize("seed", range(12))
def test_chance_is_no_finding(seed: int) -> None:
    """Of models that are right nothing is said, however few rows and many slices there are."""
    rng = np.random.default_rng(seed)
    n, c, groups = int(rng.integers(300, 4000)), int(rng.integers(2, 12)), int(rng.integers(2, 60))
    z = 2.0 * rng.normal(size=(n, c))
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    ev = fx.evaluate(logits=z, target=y, group_by={"g": rng.integers(0, groups, n)})
    assert judge_evaluation(ev).tone == "good", judge_evaluation(ev)


def test_gates_say_whether_it_may_ship(tmp_path: Any) -> None:
    good, bad = evaluated("multiclass", "good"), evaluated("multiclass", "slice")
    text = Page(good.to_html(gates=["loss > 2", "accuracy < 0.5"])).text
    assert "The model may ship: 2 gates passed." in text
    text = Page(bad.to_html(gates=["loss > 0.1", "accuracy < 0.001"])).text
    assert f"The model may not ship: 1 of 2 gates failed, loss > 0.1 (it is {bad.loss!r})." in text
    assert "site = west is surely worse" in text
    text = Page(bad.to_html(gates=["loss > 100"])).text
    assert re.search(r"The model may ship: 1 gate passed\. Yet .*it fails in site = west", text)
    assert "its gate failed" in Page(good.to_html(gates=["loss > 0.1"])).text
    with pytest.raises(fx.UsageError, match="there is no 'los'"):
        good.to_html(gates=["los > 1"])
    with pytest.raises(fx.UsageError, match="expected a comparator"):
        good.to_html(tmp_path / "r.html", gates=["loss"])
    assert not (tmp_path / "r.html").exists()


def test_gates_of_any_group_are_judged_as_the_shell_does() -> None:
    good, bad = evaluated("multiclass", "good"), evaluated("multiclass", "slice")
    gate = "any(groups.site).accuracy < 0.5"
    assert "The model may ship: 1 gate passed." in Page(good.to_html(gates=[gate])).text
    text = Page(bad.to_html(gates=[gate])).text
    assert f"its gate failed, {gate} (west: {bad.group('west').accuracy!r})." in text


def test_a_baseline_is_part_of_the_verdict(tmp_path: Any) -> None:
    from fastxent.totals.state_files import write_state
    from tests.test_states import run

    earlier = tmp_path / "last.fxt"
    write_state(earlier, evaluated("multiclass", "good").totals)
    worse = evaluated("multiclass", "miscalibrated")
    text = Page(worse.to_html(baseline=earlier)).text
    assert "its loss has risen since the baseline" in text
    assert "Since the baseline of 12,000 rows" in text
    assert (
        "not changed beyond chance since the baseline"
        in Page(evaluated("multiclass", "good").to_html(baseline=earlier)).text
    )
    better = evaluated("multiclass", "good")
    write_state(earlier, worse.totals)
    assert "Since the baseline the loss has fallen: from" in Page(better.to_html(baseline=earlier)).text
    z, y, _ = rows("multiclass")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"z": list(z), "y": y}), tmp_path / "a.parquet")
    state, page = tmp_path / "s.fxt", tmp_path / "r.html"
    command = ("evaluate", tmp_path / "a.parquet", "--logits", "z", "--target", "y", "--no-progress")
    assert run(*command, "--state", state)[0] == 0
    gate = "baseline.delta.loss >= 0"
    assert run(*command, "--baseline", state, "--fail-if", gate, "--html", page)[0] == 1
    text = Page(page.read_text()).text
    assert "The model may not ship: its gate failed, baseline.delta.loss >= 0 (it is 0.0)." in text
    assert f"fastxent evaluate {tmp_path}/a.parquet --logits z --target y" in text  # the command
    assert "target: y, logits: z" in text  # the columns


def compared(a: str, b: str) -> Verdict:
    import pyarrow as pa

    z, y, site = rows("multiclass")
    sides = {name: list(broken(z, how, site)) for name, how in (("a", a), ("b", b))}
    table = pa.table(sides | {"y": y, "site": site})
    result = fx.compare(table, None, "y", logits="a", b_logits="b", by_order=True, group_by="site")
    verdict = judge_comparison(result)
    assert verdict.sentence in Page(result.to_html()).text
    assert verdict.sentence in Page(result._repr_html_()).text
    assert "gate passed" in Page(result.to_html(gates=["delta < -100"])).text
    return verdict


def test_comparisons_say_which_is_better() -> None:
    verdict = compared("exchanged", "good")
    assert verdict.tone == "good"
    assert verdict.sentence.startswith("B has the lower loss, by ")
    verdict = compared("good", "miscalibrated")
    assert verdict.tone == "bad"
    assert re.match(r"A has the lower loss, by [\d.]+ nats a row \(95 %: [\d.]+ to [\d.]+\)\.", verdict.sentence)
    assert compared("good", "good").sentence.startswith("No difference beyond chance")
    verdict = compared("miscalibrated", "slice")
    assert verdict.sentence.endswith("But B is better in site = south.")
    assert re.fullmatch(
        r"B surely has the lower loss in (site = \w+ \(by [\d.]+\)(, )?){3}\.", verdict.findings[0].text
    )


def test_an_infinite_loss_of_one_side_is_said() -> None:
    certain = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    result = fx.compare(probs=certain, b_probs=0.1 + 0.8 * certain, target=[1, 0, 1])
    verdict = judge_comparison(result)
    assert (verdict.tone, verdict.sentence) == ("good", "The loss of A is infinite, and that of the other is not.")
    assert "B may not ship: its gate failed, loss.b > 0.1" in result.to_html(gates=["loss.b > 0.1"]).replace(
        "&gt;", ">"
    )


def test_what_is_wrong_with_the_rows_is_said() -> None:
    z, y, _ = rows("multiclass")
    z[:600, 0] = np.nan
    said = judge_evaluation(fx.evaluate(logits=z, target=y, on_invalid="skip"))
    assert said.sentence == "The model needs a look before it ships: 5.0 % of the rows are invalid."
    one = judge_evaluation(fx.evaluate(logits=[[0.3, -1.0]], target=[1]))
    assert one.sentence == "The model needs a look before it ships: there is one row only."
    spoiled = judge_evaluation(
        fx.evaluate(logits=z, target=y, on_invalid="propagate", group_by={"g": np.arange(N) % 3})
    )
    assert spoiled.sentence.startswith("The model should not ship as it is: ")
    assert "the loss is not a number" in spoiled.sentence
    assert not any("slice" in each.text for each in spoiled.findings)
    infinite = judge_evaluation(fx.evaluate(probs=[[1.0, 0.0], [1.0, 0.0]], target=[0, 1]))
    assert infinite.tone == "bad"
    assert "The loss is infinite: 1 rows give their target no probability at all." in infinite.findings[0].text
    assert judge_evaluation(fx.evaluate(logits=np.zeros((2, 3)), target=[0, 1], ignore_index=0)).tone
    none = judge_evaluation(fx.evaluate(logits=np.zeros((2, 3)), target=[-1, -1], ignore_index=-1))
    assert none.sentence == "No row was scored, so nothing is known."


def test_a_model_no_better_than_the_base_rate() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(4, size=3000, p=[0.7, 0.1, 0.1, 0.1])
    for z, said in (
        (np.log([[0.7, 0.1, 0.1, 0.1]]), "no better than the base rate"),
        (np.zeros((1, 4)), "worse than that"),
    ):
        verdict = judge_evaluation(fx.evaluate(logits=np.repeat(z, 3000, axis=0), target=y))
        assert verdict.tone == "bad"
        assert said in verdict.sentence
