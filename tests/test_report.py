"""Reports: what is in them, that nothing from the data acts in them, and how they behave in a browser."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from tests.test_states import run

DATA = Path(__file__).parent.parent / "data"
A, B = str(DATA / "digits.parquet"), str(DATA / "digits_kernel.parquet")
EVIL = [
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    '"><img src=x onerror=alert(2)>',
    "$\\frac{1}{0}$",
    "{{ 7 * 7 }}",
]


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th", "caption"):
            (self.tables[-1][-1] if tag != "caption" else self.captions).append("")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        elif self.open and self.open[-1] == "caption":
            self.captions[-1] += data

    def rows(self, caption: str) -> list[list[str]]:
        """The lines below the heading of the table whose caption begins so."""
        return next(t[1:] for name, t in zip(self.captions, self.tables, strict=True) if name.startswith(caption))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def evaluation() -> Any:
    return fx.evaluate(A, "label", logits="logits")


@pytest.fixture(scope="module")
def comparison() -> Any:
    return fx.compare(A, B, "label", logits="logits", on="id", group_by=["ink", "fold"])


@pytest.fixture(scope="module")
def evil() -> Any:
    """An evaluation in which every name from the data is up to something, with groups and worst rows."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 5))
    z[3, 0] = np.nan
    z[4::5] *= -8.0  # a class, and with it a slice, that stands out
    columns = {EVIL[2]: [EVIL[i % 5] for i in range(400)], EVIL[3]: [EVIL[i % 4] for i in range(400)]}
    table = pa.table({"z": list(z), "y": [EVIL[i % 5] for i in range(400)], **columns})
    ev = fx.evaluate(
        table, "y", logits="z", class_names=EVIL, on_invalid="skip", group_by=list(columns), worst=2,
        keep=[EVIL[3]], label_errors=3, statistics=("classwise", "temperature"),
    )  # fmt: skip
    ev.warnings.append(EVIL[0])
    ev.run |= {"paths": EVIL, "command": EVIL[0], "columns": {EVIL[1]: EVIL[2]}, "notes": EVIL}
    return ev


@cache
def made() -> dict[str, Any]:
    """Results of many kinds: few and many classes and groups, and all tasks."""
    rng = np.random.default_rng(0)

    def drawn(n: int, c: int) -> tuple[Any, Any]:
        z = 3.0 * rng.normal(size=(n, c))
        return z, (z + rng.gumbel(size=(n, c))).argmax(axis=1)

    def chosen(z: Any) -> Any:
        return (rng.random(z.shape) < 1.0 / (1.0 + np.exp(-z))).astype(int)

    found: dict[str, Any] = {}
    z = 2.0 * rng.normal(size=4000)
    country = {"country": np.array(["DE", "FR", "US"])[rng.integers(0, 3, 4000)]}
    statistics = ("ranking", "temperature")
    found["binary"] = fx.evaluate(
        logits=z, target=chosen(z), task="binary", statistics=statistics, group_by=country, worst=20
    )
    z, y = drawn(20_000, 50)
    found["classes 50"] = fx.evaluate(logits=z, target=y, group_by={"shop": np.arange(20_000) % 150})
    z, y = drawn(10_000, 1000)
    found["classes 1000"] = fx.evaluate(logits=z, target=y)
    z, y = drawn(30_000, 4)
    user = rng.integers(0, 10_000, 30_000)
    found["many"] = fx.evaluate(logits=z, target=y, group_by={"user": user}, worst=5)
    z = 2.0 * rng.normal(size=(2000, 8))
    found["multilabel"] = fx.evaluate(logits=z, target=chosen(z), task="multilabel", statistics="ranking")
    soft = rng.dirichlet(np.ones(6), 2000)
    found["soft"] = fx.evaluate(logits=np.log(soft) + rng.normal(size=soft.shape), target=soft)
    table = pa.table({"z": list(drawn(4000, 4)[0]), "y": rng.integers(0, 4, 4000), "age": rng.normal(40, 12, 4000)})
    found["binned"] = fx.evaluate(table, "y", logits="z", group_by={"age": [20, 30, 40, 50, 60]}, label_errors=50)
    z, y = drawn(10_000, 300)
    document = np.arange(10_000) // 100
    source = np.array(["web", "books", "code", "news"])[document % 4]
    found["language model"] = fx.evaluate(
        logits=z, target=y, cluster_by={"document": document}, base=2,
        group_by={"source": source, "position": np.arange(10_000) % 100},
        units={"bytes": rng.integers(1, 8, 10_000).astype(float)},
    )  # fmt: skip
    infinite = np.eye(3)[rng.integers(0, 3, 100)]
    found["infinite"] = fx.evaluate(probs=infinite, target=np.arange(100) % 3, group_by={"g": np.arange(100) % 2})
    z, y = drawn(200, 3)
    group, spoiled = np.arange(200) % 2, np.where(np.arange(200)[:, None] == 1, np.nan, z)
    found["not a number"] = fx.evaluate(logits=spoiled, target=y, on_invalid="propagate", group_by={"g": group})
    never = np.where((np.arange(200) == 1)[:, None], -np.inf, z)
    never[1, (y[1] + 1) % 3] = 0.0
    found["infinite in a group"] = fx.evaluate(logits=never, target=y, group_by={"g": group})
    wrong = np.eye(3)[(np.arange(30) + 1) % 3]
    found["all infinite"] = fx.evaluate(probs=wrong, target=np.arange(30) % 3, group_by={"g": np.arange(30) % 4})
    number = np.where(np.arange(200) % 7 == 0, np.nan, np.arange(200) % 7 / 2)
    found["numbers and none"] = fx.evaluate(logits=z, target=y, group_by={"g": number})
    found["one row"] = fx.evaluate(logits=[[0.3, -1.0]], target=[0], group_by={"g": [1]}, worst=1)
    return found


def test_an_evaluation(evaluation: Any, tmp_path: Path) -> None:
    text = evaluation.to_html(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == text
    page = Page(text)
    for part in ("0.107876", "96.94 %", "1,797", "0.08684 to 0.1289", "Every class", "multiclass", "digits.parquet"):
        assert part in page.text
    figures = page.all("svg")
    assert len(figures) == 4
    assert all(figure["role"] == "group" and figure["aria-label"] for figure in figures)
    assert "Most often: 8 taken for 1, 7 times" in str(figures[3]["aria-label"])
    assert [name for name, _ in page.tags].count("h1") == 1
    assert len(page.all("caption")) == len(page.all("table")) == len(page.all("details"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_comparison(comparison: Any) -> None:
    page = Page(comparison.to_html())
    for part in (
        "+0.01234",
        "No difference beyond chance",
        "785 : 1,012",
        "A right",
        "ink",
        "heavy",
        "Higher loss in B",
    ):
        assert part in page.text
    assert "ink: light" in str(page.all("svg")[0]["aria-label"])
    assert len(page.all("svg")) == 3


def test_the_same_result_gives_the_same_bytes(evaluation: Any) -> None:
    assert evaluation.to_html() == evaluation.to_html()


def test_a_page_loads_nothing(evaluation: Any, comparison: Any) -> None:
    for text in (evaluation.to_html(), comparison.to_html()):
        page = Page(text)
        for _, attributes in page.tags:
            for name in ("src", "href", "xlink:href", "action", "data"):
                value = attributes.get(name)
                assert value is None or value.startswith(("#", "data:"))
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}
        assert "@import" not in text
        assert "@font-face" not in text
        policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
        assert str(policy).startswith("default-src 'none'")


def test_names_from_the_data_are_text_and_nothing_else(evil: Any) -> None:
    text = evil.to_html()
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\x1b" not in text
    assert "<script>alert(1)</script>" in page.text  # as text
    assert "\\x1b[31mred" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "the prediction contains NaN" in page.text


def test_a_comparison_of_evil_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"{name}{i}" for name in EVIL for i in range(4)]
    columns = {"i": ids, "y": [i % 3 for i in range(20)], EVIL[0]: [EVIL[i % 5] for i in range(20)]}
    a, b = (pa.table({"z": list(rng.normal(size=(20, 3))), **columns}) for _ in "ab")
    c = fx.compare(a, b[1:], "y", logits="z", on="i", group_by=EVIL[0])
    text = c.to_html()
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert "\x1b" not in text
    from fastxent.cli.comparison_table import show_comparison

    show_comparison(c)


def test_no_escape_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {
        "i": ["\x1b[31mx", "\x1b[32my"],
        "z": [[0.0, 1.0], [1.0, 0.0]],
        "y": [0, 1],
        "g": ["[red]\x1b]0;t\x07", "\x9b2J"],
    }
    other = pa.table(columns | {"z": [[0.0, 0.0], [0.0, 0.0]]})[1:]
    c = fx.compare(pa.table(columns), other, "y", logits="z", on="i", group_by="g")
    assert c.improved
    from fastxent.cli.comparison_table import show_comparison

    show_comparison(c)
    printed = capsys.readouterr().out
    assert not set(printed) & {"\x1b", "\x07", "\x9b"}
    assert "\\x1b[31mx" in printed
    assert "\\x1b[32my" in printed
    code, _, error = run("evaluate", tmp_path / "\x1b[2J.parquet", "--logits", "z", "--target", "y", "--no-progress")
    assert code == 3
    assert "\x1b" not in error


def test_pictures_are_drawn_on_axes() -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from fastxent.report.pictures.registry import OF_EVALUATION

    drawn: set[str] = set()
    for name, result in made().items():
        page = result.to_html()
        assert str(result), name
        assert not re.search(r'<(svg|rect|line|circle|text|polyline)[^>]*[" ,-](nan|inf)["., ]', page), name
        for picture in OF_EVALUATION:
            if f'id="picture-{picture}"' not in page:
                with pytest.raises(
                    fx.UsageError, match=rf"^plot: nothing was gathered that '{picture}' shows; there is '"
                ):
                    result.plot(picture)
                continue
            ax = result.plot(picture)
            assert ax.get_title()
            assert ax.patches or ax.lines
            ax.figure.canvas.draw()
            plt.close(ax.figure)
            drawn.add(picture)
    assert drawn == set(OF_EVALUATION)
    fig, axes = plt.subplots(1, 2)
    assert made()["binary"].plot("roc", ax=axes[1]) is axes[1]
    assert not axes[0].lines
    x, y = axes[1].lines[1].get_data()
    fpr, tpr, _ = made()["binary"].roc_curve()
    points = set(zip(fpr.tolist(), tpr.tolist(), strict=True))
    assert {(0.0, 0.0), (1.0, 1.0)} <= set(zip(x, y, strict=True)) <= points
    plt.close(fig)
    with pytest.raises(fx.UsageError, match=r"plot: expected one of 'loss', 'reliability', .*, got 'los'"):
        made()["binary"].plot("los")


def test_loss_over_the_numbers_that_rows_are_grouped_by() -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    ev = made()["language model"]
    ax = ev.plot("trend")
    x, y = next(line.get_data() for line in ax.lines if len(line.get_xdata()) == 100)
    assert list(x) == list(range(100))
    told = {row["position"]: row["loss"] for row in ev.margins["position"].to_pylist()}
    assert list(y) == [told[i] for i in range(100)]
    plt.close(ax.figure)
    ax = made()["binned"].plot("trend")
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["< 20", "[20, 30)", "[30, 40)", "[40, 50)", "[50, 60)", ">= 60"]
    plt.close(ax.figure)
    with pytest.raises(fx.UsageError, match="nothing was gathered that 'trend' shows"):
        made()["binary"].plot("trend")  # text


def test_pictures_of_comparisons_are_drawn_on_axes(comparison: Any) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    for name in ("groups", "density", "loss"):
        ax = comparison.plot(name)
        ax.figure.canvas.draw()
        plt.close(ax.figure)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names
    with pytest.raises(fx.UsageError, match=r"expected one of 'groups', 'density', 'loss', got 'reliability'"):
        comparison.plot("reliability")


def test_rows_are_counted_by_octaves_of_both_losses() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.exponential(size=3000) ** 6 for _ in "ab")
    a[:5], b[:5] = [1e-310, 1e-300, 2.0**-20, 2.0**10, 1e300], [1.0, 2.0, np.nextafter(2.0, 0.0), 0.5, np.inf]
    c = fx.compare(
        pa.table({"z": -a, "i": np.arange(3000)}),
        pa.table({"z": -b, "i": np.arange(3000)}),
        target_log_probs="z",
        on="i",
    )
    octave = [np.floor(np.log2(np.clip(side, 2.0**-20, 2.0**10))).astype(int) for side in (a, b)]
    keys, counts = np.unique(np.stack(octave), axis=1, return_counts=True)
    assert c.octaves == [(*map(int, key), int(count)) for key, count in zip(keys.T, counts, strict=True)]


def test_names_from_the_data_are_no_formulas_of_matplotlib(evil: Any) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    for name in ("confusion", "groups", "group_classes", "classes"):
        ax = evil.plot(name)
        ax.figure.canvas.draw()  # "$\\frac{1}{0}$" would raise, or be drawn as one
        shown = [label.get_text() for label in ax.get_yticklabels()]
        assert any("$" in text for text in shown)
        plt.close(ax.figure)


def test_losses_that_are_ready_made_have_a_report() -> None:
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=500)
    ev = fx.evaluate(losses=losses, group_by={"g": np.arange(500) % 5})
    page = Page(ev.to_html())
    assert [each["id"] for each in page.all("figure")] == ["picture-loss", "picture-groups", "picture-trend"]
    assert "Nothing stands out" in page.text
    worse = fx.evaluate(
        losses=np.where(np.arange(500) % 5 == 2, 9.0 + losses, losses), group_by={"g": np.arange(500) % 5}
    )
    assert "it fails in g = 2" in Page(worse.to_html()).text


def test_what_is_absent_is_left_out() -> None:
    ev = fx.evaluate(logits=[0.3, -1.0, 2.0], target=[0, 1, 1], task="binary")
    assert "Every class" in Page(ev.to_html()).text
    ev = fx.evaluate(logits=[[0.3, -1.0]], target=[0])
    assert "–" in Page(ev.to_html()).text or ev.num_rows == 1
    text = Page(fx.evaluate(logits=np.zeros((2, 3)), target=[-1, -1], ignore_index=-1).to_html()).text
    assert "ignored, as ignore_index asks" in text
    ev = fx.evaluate(probs=[[0.0, 1.0], [0.5, 0.5]], target=[0, 0])
    assert "∞" in Page(ev.to_html()).text


def test_what_was_asked_for_is_shown(tmp_path: Path) -> None:
    ev = fx.evaluate(
        A, "label", logits="logits", group_by=("ink", "fold"), worst_per_class=1, units="fold",
        statistics=("classwise", "temperature"),
    )  # fmt: skip
    text = Page(ev.to_html()).text
    for caption in (
        "By ink", "By fold", "By ink, fold", "Highest losses of each class", "Bits per fold",
        "Every class against the rest", "Loss of the logits divided by a temperature",
    ):  # fmt: skip
        assert caption in text
    binary = fx.evaluate(logits=[0.3, -1.0, 2.0], target=[0, 1, 1], task="binary", statistics="ranking")
    text = Page(binary.to_html()).text
    assert "Thresholds" in text
    assert "Ranking of positives above negatives" in text
    pq.write_table(pq.read_table(A), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing PAR1")
    part = fx.evaluate(str(tmp_path), "label", logits="logits", on_error="skip")
    assert "Parts that could not be read" in Page(part.to_html()).text
    flips = fx.compare(A, A, "label", logits="logits", b_probs="probs", by_order=True, permutations=9)
    assert "p by sign flips" in Page(flips.to_html()).text


def test_classes_of_slices_are_shown_and_bounded() -> None:
    ev = fx.evaluate(A, "label", logits="logits", group_by=("ink", "fold"), worst=20, statistics="classwise")
    page = Page(ev.to_html())
    assert {"href": "#slices"} in page.all("a")
    for caption in (
        "Where the loss is: classes of slices by the sum of their losses (first 50 of 150)",
        "Recall, by ink, fold and class",
        "Calibration error against the rest, by ink, fold and class",
        "Highest losses by ink, fold (first 200 of 300)",
    ):
        assert caption in page.text
    (top,) = sorted(ev.to_dict()["group_per_class"], key=lambda row: -row["support"] * row["loss"])[:1]
    first = "".join(str(top[name]) for name in ("ink", "fold", "class", "support"))
    assert re.search(rf"Where the loss is[^%]*F1\s*{first}", page.text)
    rng = np.random.default_rng(0)
    many = fx.evaluate(logits=rng.normal(size=(3000, 30)), target=np.arange(3000) % 30, group_by=np.arange(3000) % 150)
    page = Page(many.to_html())
    assert "Recall, by" not in page.text  # a column a class would be too many
    present = sum(row["support"] > 0 for row in many.group_per_class.to_pylist())
    assert f"the sum of their losses (first 50 of {present:,})" in page.text
    few = fx.evaluate(logits=rng.normal(size=(3000, 3)), target=np.arange(3000) % 3, group_by=np.arange(3000) % 150)
    assert "Recall, by group and class (first 100 of 150)" in Page(few.to_html()).text


def test_nothing_scored_draws_nothing() -> None:
    table = pa.table({"z": [[np.nan] * 3] * 5, "y": [0] * 5})
    page = Page(fx.evaluate(table, "y", logits="z", on_invalid="skip").to_html())
    assert "No row was scored, so nothing is known." in page.text
    assert "a table in memory" in page.text
    assert "– nats" not in page.text
    assert page.all("svg") == []


def test_of_many_groups_those_that_differ_most_are_drawn() -> None:
    rng = np.random.default_rng(0)
    n, many = 20_000, 200
    group = np.arange(n) % many
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
    b[:, 0] += np.where(group < 25, 2.0, 0.0)  # class 0 is every target
    names = np.array([f"a long name that ends in {i:03d}" for i in range(many)])[group]
    table = pa.table({"a": list(a), "b": list(b), "y": np.zeros(n, int), "g": names})
    c = fx.compare(table, None, "y", logits="a", b_logits="b", by_order=True, group_by="g")
    page = Page(c.to_html())
    assert "30 of 201 are shown" in page.text
    drawn = [i for i in range(many) if f"ends in {i:03d}: A − B is" in page.text]
    assert set(drawn) >= set(range(25))
    assert len(drawn) == 29


def test_of_many_groups_the_worst_and_the_largest_are_listed() -> None:
    rng = np.random.default_rng(0)
    n, many = 60_000, 10_000
    group = np.where(np.arange(n) < 2000, 7, rng.integers(0, many, n))
    target = rng.integers(0, 3, n)
    z = rng.normal(size=(n, 3)) + 3.0 * np.eye(3)[target] * np.where(group == 9, -2.0, 1.0)[:, None]
    ev = fx.evaluate(logits=z, target=target, group_by={"user": group})
    text = ev.to_html()
    page = Page(text)
    assert len(text) < 1_500_000
    assert re.search(r"By user \(the worst and the largest \d+ of 9,9\d\d\)", page.text)
    assert page.rows("By user")[0][0] == "9"
    assert "7" in [row[0] for row in page.rows("By user")]


def test_the_shell_writes_reports(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    assert run("evaluate", A, "--logits", "logits", "--target", "label", "--no-progress", "--html", path)[0] == 0
    Page(path.read_text())
    state = tmp_path / "s.fxt"
    run("evaluate", A, "--logits", "logits", "--target", "label", "--no-progress", "--state", state)
    assert run("merge", state, "--html", path)[0] == 0
    assert "s.fxt" in Page(path.read_text()).text


# --- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page in the browser, and what it complained about or asked the network for."""
    page = browser.new_page(**options)
    noise: list[str] = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("dialog", lambda dialog: (noise.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: noise.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, noise


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, evil: Any, evaluation: Any, comparison: Any) -> dict[str, Path]:
    """Reports of all kinds."""
    folder = tmp_path_factory.mktemp("reports")
    results = {"evil": evil, "digits": evaluation, "comparison": comparison} | made()
    for name, result in results.items():
        text = result.to_html(folder / f"{name}.html")
        assert len(text) < 1_500_000, name
    return {name: folder / f"{name}.html" for name in results}


WIDTHS = (390, 800, 1400)
OPEN = "document.querySelectorAll('details').forEach(each => each.open = true)"
#: Texts of pictures that lie over one another, or outside.
CROWDED = """[...document.querySelectorAll('svg.plot')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].filter(text => !text.classList.contains('small'));
  const boxes = texts.map(text => text.getBoundingClientRect()), whole = svg.getBoundingClientRect();
  const out = texts.filter((text, i) => boxes[i].left < whole.left - 2 || boxes[i].right > whole.right + 8
    || boxes[i].top < whole.top - 4 || boxes[i].bottom > whole.bottom + 2).map(text => 'outside: ' + text.textContent);
  const flat = texts.filter(text => !text.hasAttribute('transform'));
  const over = flat.flatMap((text, i) => flat.slice(0, i).filter(other => {
    const [p, q] = [text.getBoundingClientRect(), other.getBoundingClientRect()];
    return p.left < q.right - 1 && q.left < p.right - 1 && p.top + 3 < q.bottom - 3 && q.top + 3 < p.bottom - 3;
  }).map(other => `${other.textContent} | ${text.textContent}`));
  return [...out, ...over].map(said => `${svg.closest('figure').id}: ${said}`);
})"""


@pytest.mark.browser
def test_pages_fit_and_nothing_happens(browser: Any, pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        page, noise = opened(browser, path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert page.evaluate(CROWDED) == [], (name, width)
            sizes = "Math.min(...[...document.querySelectorAll('svg.plot')].map(svg => svg.getScreenCTM().a)) * 12"
            assert page.evaluate("document.querySelectorAll('svg.plot').length") == 0 or page.evaluate(sizes) > 9.5
        page.evaluate(OPEN)
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        page.close()
        assert noise == [], name


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Any, pages: dict[str, Path], scheme: str) -> None:
    axe = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip(f"no axe-core (npm install --prefix {sys.prefix} axe-core@4)")
    run = "() => axe.run().then(found => found.violations.map(v => [v.id, v.help, v.nodes[0].html.slice(0, 200)]))"
    for name, path in pages.items():
        if scheme == "dark" and name not in ("evil", "digits", "comparison", "binary"):
            continue  # only colors differ
        # the page's policy forbids scripts that are not its own
        page = browser.new_context(
            bypass_csp=True, color_scheme=scheme, viewport={"width": 800, "height": 800}
        ).new_page()
        page.goto(path.as_uri())
        page.evaluate(OPEN)
        page.evaluate("document.querySelector('svg.plot [tabindex=\"0\"]')?.focus()")  # what it says is shown
        page.add_script_tag(path=axe)
        assert page.evaluate(run) == [], name
        page.context.close()


@pytest.mark.browser
def test_pictures_say_their_values_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page, noise = opened(browser, pages["digits"], viewport={"width": 390, "height": 800})
    stops = page.locator("svg.plot [tabindex='0']")
    assert stops.count() == page.locator("svg.plot").count() == 4
    said = []
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('figure')?.id") == "picture-reliability":
            break
    tip = page.locator(".tip")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "End", "Home"):
        page.keyboard.press(key)
        assert tip.is_visible()
        said.append(tip.inner_text())
        box = tip.bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
    assert all(
        re.match(r"confidence .* %: .* % right \(95 %: |[\d,]+ rows have a confidence of", text) for text in said
    )
    assert said[0] == said[2] != said[1]
    assert said[-1] != said[-2]
    page.keyboard.press("Tab")  # one stop a picture
    assert page.evaluate("document.activeElement.closest('figure')?.id") != "picture-reliability"
    page.keyboard.press("Shift+Tab")
    assert tip.inner_text() == said[-1]  # where it was left
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert noise == []


def downloaded(download: Any) -> list[dict[str, str]]:
    """The lines of a CSV file."""
    with Path(download.value.path()).open(newline="") as file:
        return list(csv.DictReader(file))


def shown_table(page: Any, caption: str) -> Any:
    """A table by its caption, behind which it is opened by keyboard."""
    details = page.locator("details").filter(has=page.locator("caption", has_text=caption)).first
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    return details


@pytest.mark.browser
def test_tables_are_sorted_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page, noise = opened(browser, pages["digits"])
    table = shown_table(page, "Every class").locator("table")
    heading = table.locator("th[scope=col]", has_text="recall")

    def recalls() -> list[float]:
        return [float(cell.replace(" %", "")) for cell in table.locator("tbody td:nth-child(5)").all_text_contents()]

    before = recalls()
    assert heading.get_attribute("aria-sort") == "none"
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert recalls() == sorted(before, reverse=True)
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert recalls() == sorted(before)
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "none"
    assert recalls() == before
    assert noise == []


@pytest.mark.browser
def test_tables_are_filtered_and_downloaded(browser: Any, pages: dict[str, Path]) -> None:
    page, noise = opened(browser, pages["many"], viewport={"width": 390, "height": 800})
    details = shown_table(page, "By user")
    lines = details.locator("tbody tr")
    every = lines.count()
    assert every > 200
    details.locator("input").focus()
    page.keyboard.type("77")
    left = lines.evaluate_all("rows => rows.filter(row => !row.hidden).map(row => row.textContent)")
    assert 0 < len(left) < every
    assert all("77" in text for text in left)
    assert details.locator("[role=status]").inner_text() == f"{len(left)} of {every} lines"
    details.locator("button", has_text="CSV").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.startswith("By-user")
    found = downloaded(download)
    assert len(found) == every  # whatever the filter leaves
    ev = made()["many"]
    told = {str(row["user"]): row for row in ev.groups.to_pylist()}
    for row in found:
        assert float(row["loss"]) == told[row["user"]]["loss"]
        assert int(row["rows"]) == told[row["user"]]["count"]
    assert noise == []


@pytest.mark.browser
def test_a_csv_holds_no_formula(browser: Any, tmp_path: Path) -> None:
    names = ["=1+2", "+a", "-b", "@c", 'say "hi", all\nof you']
    z = np.random.default_rng(0).normal(size=(50, 5))
    path = tmp_path / "r.html"
    fx.evaluate(logits=z, target=np.arange(50) % 5, class_names=names).to_html(path)
    page, _ = opened(browser, path)
    with page.expect_download() as download:
        shown_table(page, "Every class").locator("button", has_text="CSV").press("Enter")
    found = [row["class"] for row in downloaded(download)]
    assert found == ["'=1+2", "'+a", "'-b", "'@c", 'say "hi", all\\nof you']


@pytest.mark.browser
def test_dark_light_and_paper(browser: Any, pages: dict[str, Path]) -> None:
    color = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg text')).fill]"
    )
    page, _ = opened(browser, pages["digits"], color_scheme="light")
    light = page.evaluate(color)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(color)
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(color)[0] == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.locator("svg.plot").first.is_visible()
