"""Make the prediction files beside this script: real models, real data, out of fold, the same bytes every time.

Run it with `make data`. It prints scikit-learn's log loss of every file, as data/README.md quotes it.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit, softmax
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

HERE = Path(__file__).parent
FOLDS = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
ROW_GROUP = 500  # several row groups even in files this small


def out_of_fold(model: Pipeline, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (float32) of every row by a model that has not seen it, and the fold (int8) the row was held out in."""
    fold = np.empty(len(y), np.int8)
    logits = None
    for number, (train, test) in enumerate(FOLDS.split(x, y)):
        scores = model.fit(x[train], y[train]).decision_function(x[test])
        if logits is None:
            logits = np.empty((len(y), *scores.shape[1:]), np.float32)
        logits[test] = scores
        fold[test] = number
    return logits, fold


def tertile(values: np.ndarray, names: list[str]) -> pa.Array:
    """The name of the third of the data set that each value lies in."""
    return pa.array(np.array(names)[np.digitize(values, np.quantile(values, [1 / 3, 2 / 3]))])


def rows_of(matrix: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def write(name: str, columns: dict[str, pa.Array | np.ndarray], **said: str | list[str]) -> None:
    """``said`` is what fastxent would have to be told otherwise: form, predictions, target, task."""
    table = pa.table({key: pa.array(column) for key, column in columns.items()})
    table = table.replace_schema_metadata({"fastxent": json.dumps({"version": 1, **said})})
    pq.write_table(table, HERE / name, row_group_size=ROW_GROUP, compression="zstd", use_dictionary=False)


def digits(name: str, model: Pipeline) -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    logits, fold = out_of_fold(model, x, y)
    probs = softmax(logits.astype(np.float64), axis=1)
    columns = {
        "id": np.arange(len(y), dtype=np.int32),
        "logits": rows_of(logits),
        "probs": rows_of(probs.astype(np.float32)),
        "label": y.astype(np.int8),
        "fold": fold,
        "ink": tertile(x.sum(axis=1), ["light", "medium", "heavy"]),
    }
    write(name, columns, form="logits", predictions=["logits"], target="label", task="multiclass")
    report(name, y, probs, np.mean(logits.argmax(axis=1) == y))
    return logits, y.astype(np.int64)


def breast_cancer(name: str) -> None:
    x, benign = load_breast_cancer(return_X_y=True)
    y = 1 - benign
    logit, fold = out_of_fold(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), x, y)
    prob = expit(logit.astype(np.float64))
    columns = {
        "id": np.arange(len(y), dtype=np.int32),
        "logit": logit,
        "prob": prob.astype(np.float32),
        "label": y.astype(np.int8),
        "fold": fold,
        "radius": tertile(x[:, 0], ["small", "medium", "large"]),
    }
    write(name, columns, form="logits", predictions=["logit"], target="label", task="binary")
    report(name, y, prob, np.mean((logit > 0) == y))


def report(name: str, y: np.ndarray, probs: np.ndarray, accuracy: float) -> None:
    print(f"{name}: {len(y)} rows, log_loss {log_loss(y, probs):.10f}, accuracy {accuracy:.4f}")


def main() -> None:
    with threadpool_limits(1):  # the order of BLAS's sums, and so the last bits, may depend on the number of threads
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        kernel = make_pipeline(
            StandardScaler(),
            Nystroem(gamma=0.01, n_components=400, random_state=0),
            LogisticRegression(C=100, max_iter=1000),
        )
        logits, labels = digits("digits.parquet", linear)
        digits("digits_kernel.parquet", kernel)
        breast_cancer("breast_cancer.parquet")
    np.save(HERE / "digits_logits.npy", logits)
    np.save(HERE / "digits_labels.npy", labels)


if __name__ == "__main__":
    main()
