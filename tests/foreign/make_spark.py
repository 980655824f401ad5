"""Make the files in spark/ anew, with Apache Spark: pip install pyspark numpy (and Java 17), then run this.

Each is a folder as Spark leaves it, with its markers and checksums. The rows are those of values.py, in order, in
one or two parts.
"""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import values

FOLDER = Path(__file__).parent / "spark"


def main():
    from pyspark.ml.linalg import Vectors, VectorUDT
    from pyspark.sql import SparkSession
    from pyspark.sql import types as t

    spark = (
        SparkSession.builder.master("local[1]").appName("make_spark")
        .config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC").getOrCreate()
    )  # fmt: skip
    shutil.rmtree(FOLDER, ignore_errors=True)
    f64, labels = values.scores().tolist(), values.labels().tolist()
    f32 = values.scores().astype("float32").tolist()
    sparse = values.sparse_scores().tolist()

    def write(name, kind, column, parts=1, by=(), more=(), **options):
        """The column ``z`` beside labels and ids; ``more`` are further fields and their values."""
        fields = [
            t.StructField("id", t.LongType(), False),
            t.StructField("z", kind),
            t.StructField("y", t.IntegerType()),
        ]
        fields += [t.StructField(field, each) for field, each, _ in more]
        rows = list(zip(range(values.ROWS), column, labels, *(each for _, _, each in more), strict=True))
        frame = spark.createDataFrame(rows, t.StructType(fields)).coalesce(1)
        if parts > 1:
            frame = frame.repartitionByRange(parts, "id").sortWithinPartitions("id")
        frame.write.options(**options).partitionBy(*by).parquet(str(FOLDER / name))

    def vector(row, number):
        """Every third row sparse, as Vector.compressed would leave them side by side."""
        pairs = [(j, v) for j, v in enumerate(row) if v]
        return Vectors.sparse(values.CLASSES, pairs) if number % 3 else Vectors.dense(row)

    write("array_float", t.ArrayType(t.FloatType()), f32, parts=2)
    write("array_double", t.ArrayType(t.DoubleType()), f64, compression="zstd")
    write("array_of_version_2", t.ArrayType(t.FloatType()), f32, **{"parquet.writer.version": "v2"})
    write("vector_dense", VectorUDT(), [Vectors.dense(row) for row in f64])
    write("vector_sparse", VectorUDT(), [vector(row, i) for i, row in enumerate(sparse)])
    names = t.StructType([t.StructField(name, t.FloatType()) for name in values.NAMES])
    write("struct", names, [tuple(row) for row in f32])
    write("binary", t.BinaryType(), [bytearray(row.tobytes()) for row in values.scores()])
    columns = [(name, t.DoubleType(), [row[j] for row in f64]) for j, name in enumerate(values.NAMES)]
    write("columns", t.StringType(), [values.WORDS[y] for y in labels], more=columns)
    spark.conf.set("spark.sql.parquet.writeLegacyFormat", "true")
    write("array_legacy", t.ArrayType(t.FloatType()), f32)
    spark.conf.set("spark.sql.parquet.writeLegacyFormat", "false")
    days = [datetime.date(2024, 1, 1 + i % 2) for i in range(values.ROWS)]
    write(
        "partitions", t.ArrayType(t.FloatType()), f32, by=("country", "day"),
        more=[("country", t.StringType(), values.countries()), ("day", t.DateType(), days)],
    )  # fmt: skip
    spark.stop()


if __name__ == "__main__":
    main()
