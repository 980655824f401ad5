"""The terms of losses: of classes -q_c log p_c, of labels the loss of each; and rows of labels as sums."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import fastxent as fx
from tests.shell import run

RNG = np.random.default_rng(11)
ROWS, CLASSES = 40, 19
LOGITS = RNG.normal(size=(ROWS, CLASSES)) * 6
LABELS = RNG.integers(0, CLASSES, ROWS)
SOFT = RNG.dirichlet(np.full(CLASSES, 0.4), ROWS)
SOFT[:6] = np.eye(CLASSES)[:6]
SOFT[6:20, ::3] = 0.0
EVENTS = RNG.integers(0, 2, (ROWS, CLASSES))
WEIGHTS = RNG.random(CLASSES) + 0.25
PROBS = RNG.dirichlet(np.ones(CLASSES), ROWS)
UNEVEN = PROBS * RNG.uniform(0.3, 1.0, (ROWS, 1))


def minus_logs(form, scores, normalize):
    """-log p of every class, in mpmath."""
    with mpmath.workdps(60):
        rows = []
        for row in scores:
            row = [mpmath.mpf(float(x)) for x in row]
            powers = row if form == "probs" else [mpmath.exp(x) for x in row]
            total = mpmath.fsum(powers) if form == "logits" or normalize else mpmath.mpf(1)
            rows.append([-mpmath.log(x / total) if x else mpmath.inf for x in powers])
        return rows


SCORES = {
    "logits": (LOGITS, False), "logits32": (LOGITS.astype(np.float32), False), "probs": (PROBS, False),
    "log_probs": (np.log(PROBS), False), "probs normalized": (UNEVEN, True), "log_probs normalized": (LOGITS, True),
    "logits16": (LOGITS.astype(np.float16), False), "one class": (LOGITS[:, :1], False),
    "columns": (LOGITS.T.copy().T, False),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_terms_of_classes(name, weighed, smoothing):
    scores, normalize = SCORES[name]
    form = "logits" if name in ("one class", "columns") else name.split()[0].rstrip("0123456789")
    classes = scores.shape[1]
    soft = SOFT if classes > 1 else np.ones((ROWS, 1))
    labels = LABELS if classes > 1 else np.zeros(ROWS, int)
    weights = WEIGHTS[:classes] if weighed else None
    if form == "log_probs" and normalize:
        scores = scores - 3.0 - scores.max(axis=1, keepdims=True)
    options = {form: scores, "label_smoothing": smoothing, "class_weight": weights, "normalize": normalize}
    exact = minus_logs(form, scores, normalize)
    for target, shares in ((soft, soft), (labels, np.eye(classes)[labels])):
        terms = fx.cross_entropy(target, reduction="elementwise", **options)
        rows = fx.cross_entropy(target, reduction="none", **options)
        assert terms.shape == scores.shape
        np.testing.assert_allclose(terms.sum(axis=1), rows, rtol=1e-14, atol=0)
        a = (shares * (1.0 - smoothing) + smoothing / classes) * (1.0 if weights is None else weights)
        for i in range(ROWS):
            for c in range(classes):
                expected = float(mpmath.mpf(float(a[i, c])) * exact[i][c]) if a[i, c] else 0.0
                assert terms[i, c] == pytest.approx(expected, rel=8 * 2.0**-52, abs=0.0), (i, c)
        if not smoothing:
            one = (shares == 1.0).any(axis=1)
            assert (terms.max(axis=1)[one] == rows[one]).all()
    assert fx.cross_entropy(labels, reduction="none", **options).shape == (ROWS,)


def test_terms_where_nothing_counts():
    scores = np.array([[0.2, 0.8, 0.0], [0.5, 0.5, 0.0], [np.nan, 0.5, 0.5], [0.1, 0.2, 0.7]])
    soft = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    call = {"probs": scores, "reduction": "elementwise", "on_invalid": "skip"}
    terms = fx.cross_entropy(soft, **call, ignore_index=2)
    assert terms[0].tolist() == [-0.5 * np.log(0.2), -0.5 * np.log(0.8), 0.0]
    assert terms[1].tolist() == [0.0, -0.5 * np.log(0.5), np.inf]
    assert np.isnan(terms[2]).all()
    assert terms[3].tolist() == [0.0, 0.0, 0.0]
    labels = fx.cross_entropy([1, 2, 0, 7], **call, sample_weight=[2.0, 0.0, 1.0, 1.0], base=2)
    assert labels[0].tolist() == [0.0, pytest.approx(2 * -np.log2(0.8), rel=1e-15), 0.0]
    assert labels[1].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(labels[2:]).all()
    with pytest.raises(fx.InvalidRowError, match=r"row 2 .*NaN"):
        fx.cross_entropy(soft, probs=scores, reduction="elementwise")
    with pytest.raises(fx.UsageError, match="'elementwise' applies to cross_entropy and to labels, and this is poly1"):
        fx.poly1_loss(soft, probs=PROBS[:4, :3], reduction="elementwise", normalize=True)
    with pytest.raises(fx.UsageError, match="expected 'mean', 'sum', 'none' or 'elementwise'"):
        fx.cross_entropy(LABELS, logits=LOGITS, reduction="terms")


FORMS = {"logits": LOGITS, "probs": 1 / (1 + np.exp(-LOGITS)), "log_probs": -np.log1p(np.exp(-LOGITS))}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"pos_weight": WEIGHTS}, {"pos_weight": 2.0}])
def test_terms_of_labels(form, options):
    """Each label is an event of its own."""
    scores = FORMS[form]
    mask = RNG.random(scores.shape) < 0.7
    mask[:, 0] = True
    holes = np.where(mask, scores, np.nan)
    terms = fx.binary_cross_entropy(EVENTS, reduction="elementwise", **{form: scores}, **options)
    masked = fx.binary_cross_entropy(EVENTS, reduction="elementwise", mask=mask, **{form: holes}, **options)
    assert (masked == np.where(mask, terms, 0.0)).all()
    for label in range(CLASSES):
        event = options | ({"pos_weight": WEIGHTS[label]} if np.ndim(options.get("pos_weight", 0)) else {})
        alone = fx.binary_cross_entropy(EVENTS[:, label], reduction="none", **{form: scores[:, label]}, **event)
        assert terms[:, label].tolist() == alone.tolist()
    call = {form: holes, "mask": mask, "reduction": "none", **options}
    mean, total = (fx.binary_cross_entropy(EVENTS, label_reduction=each, **call) for each in ("mean", "sum"))
    np.testing.assert_allclose(total, masked.sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(mean, masked.sum(axis=1) / mask.sum(axis=1), rtol=1e-14)


def test_terms_of_labels_are_those_of_torch():
    torch = pytest.importorskip("torch")
    z, y, w = (torch.tensor(each) for each in (LOGITS, EVENTS.astype(float), WEIGHTS))
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(z, y, pos_weight=w, reduction="none").numpy()
    ours = fx.binary_cross_entropy(EVENTS, logits=LOGITS, pos_weight=WEIGHTS, reduction="elementwise")
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-14)  # theirs cancels
    focal = fx.focal_loss(EVENTS, logits=LOGITS, task="multilabel", reduction="elementwise")
    np.testing.assert_allclose(focal, focal_twin(), rtol=1e-13)
    rows = fx.focal_loss(EVENTS, logits=LOGITS, task="multilabel", reduction="none", label_reduction="sum")
    np.testing.assert_allclose(rows, focal.sum(axis=1), rtol=1e-14)


def focal_twin():
    """The definition, in NumPy, of the logit of what is true."""
    z = np.where(EVENTS == 1, LOGITS, -LOGITS)
    return (1 / (1 + np.exp(z))) ** 2 * np.log1p(np.exp(-z))


def test_labels_that_do_not_count():
    target = np.array([[0, 1, -1], [-1, -1, -1], [1, 5, 0]])
    terms = fx.binary_cross_entropy(
        target, probs=np.full((3, 3), 0.5), ignore_index=-1, on_invalid="skip", reduction="elementwise"
    )
    half = float(np.log(2.0))
    assert terms[:2].tolist() == [[half, half, 0.0], [0.0, 0.0, 0.0]]
    assert np.isnan(terms[2]).all()
    assert fx.binary_cross_entropy([1, 0], probs=[0.5, 0.5], reduction="elementwise").tolist() == [half, half]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("labels", [3, CLASSES, 700])
def test_sums_of_labels(full, labels, tmp_path):
    """Rows as sums have the losses of rows as means, times their labels, everywhere."""
    z = RNG.normal(size=(60, labels))
    y = (RNG.random(z.shape) < 0.3).astype(np.int8)
    call = {"logits": z, "target": y, "task": "multilabel", "label_reduction": "sum"}
    terms = fx.binary_cross_entropy(y, logits=z, reduction="elementwise").sum(axis=1)
    ev = fx.evaluate(**call, worst=1 if full else 0)
    assert ev.loss == pytest.approx(terms.mean(), rel=1e-14)
    assert ev.to_dict()["spec"]["label_reduction"] == "sum"
    mean = fx.evaluate(**{**call, "label_reduction": "mean"})
    assert ev.accuracy == mean.accuracy
    assert ev.brier == mean.brier
    rows = fx.score(**call)
    np.testing.assert_allclose(np.asarray(rows["loss"]), terms, rtol=1e-14)
    evaluator = fx.Evaluator(task="multilabel", label_reduction="sum")
    evaluator.update(y, logits=z)
    assert evaluator.compute().loss == ev.loss
    with pytest.raises(fx.StateError):
        fx.merge([ev, mean])
    assert fx.compare(**call, b_logits=z * 1.1).a.loss == ev.loss
    with pytest.raises(fx.UsageError, match="label_reduction applies to task 'multilabel'"):
        fx.evaluate(logits=LOGITS, target=LABELS, label_reduction="sum")
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "y.npy", y)
    files = ["--logits", tmp_path / "z.npy", "--target", tmp_path / "y.npy", "--task", "multilabel"]
    result = run("evaluate", *files, "--label-reduction", "sum", "--fail-if", f"loss > {terms.mean() * 0.99}")
    assert result.exit_code == 1
