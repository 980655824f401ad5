"""Make the files in huggingface/ anew: pip install datasets, then run this.

Parquet as `datasets` writes it: the class names of a ClassLabel and fixed lengths are in its own metadata only.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import values

FOLDER = Path(__file__).parent / "huggingface"


def main():
    import datasets

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    scores = values.scores().astype("float32").tolist()
    labels = values.labels().tolist()
    rows = {"z": scores, "y": labels}
    label = datasets.ClassLabel(names=list(values.WORDS))
    number = datasets.Value("float32")
    fixed = datasets.Sequence(number, length=values.CLASSES)
    for name, kind in (("sequence", datasets.Sequence(number)), ("fixed", fixed)):
        features = datasets.Features({"z": kind, "y": label})
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(FOLDER / f"{name}.parquet"))


if __name__ == "__main__":
    main()
