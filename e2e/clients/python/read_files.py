"""DuckDB, Polars and pyarrow read what the collector put into Parquet files, by nothing but the files.

Usage: read_files.py DATA_DIR QUERY_URL

SQL over the query node says what is there; each of the three has to find the same, once all of it is in files.
"""

import glob
import sys
import time

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds

from send_and_find import sql

SIGNALS = {"spans": "span_id", "logs": "body", "metrics": "name", "metric_histograms": "name"}
# In spans, an attribute that is also promoted to a column of its own must still be in the map.
ATTRIBUTE, EVENT = "order.number", "packed"


def with_duckdb(files, column, is_spans):
    duck = duckdb.connect()
    table = duck.read_parquet(files, hive_partitioning=True)
    rows, distinct = table.aggregate(f"count(*), count(DISTINCT {column})").fetchall()[0]
    if not is_spans:
        return rows, distinct
    attributes = f"count(DISTINCT attributes['{ATTRIBUTE}'])"
    return rows, distinct, *table.aggregate(f"{attributes}, count(*) FILTER (events[1].name = '{EVENT}')").fetchall()[0]


def with_polars(files, column, is_spans):
    table = pl.scan_parquet(files, hive_partitioning=True)
    counts = [pl.len(), pl.col(column).n_unique().alias("distinct")]
    if is_spans:
        attribute = pl.col("attributes").map.get(pl.lit(ATTRIBUTE))
        event = pl.col("events").list.first().struct.field("name")
        counts += [attribute.drop_nulls().n_unique(), (event == EVENT).sum()]
    return table.select(counts).collect().row(0)


def with_pyarrow(files, column, is_spans):
    table = ds.dataset(files, format="parquet", partitioning=ds.HivePartitioning.discover()).to_table()

    def distinct(values):
        return len(values.drop_null().unique())

    counts = table.num_rows, distinct(table[column])
    if not is_spans:
        return counts
    # No span here has two events.
    names = pc.struct_field(pc.list_flatten(table["events"]), "name")
    return *counts, distinct(pc.map_lookup(table["attributes"], ATTRIBUTE, "first")), pc.sum(pc.equal(names, EVENT)).as_py()


def wanted(query_url, table, column):
    questions = ["count(*)", f"count(DISTINCT {column})"]
    if table == "spans":
        questions += [f"count(DISTINCT attributes['{ATTRIBUTE}'])", f"count(*) FILTER (WHERE events[1]['name'] = '{EVENT}')"]
    selected = ", ".join(f"{question} AS q{number}" for number, question in enumerate(questions))
    return tuple(sql(query_url, f"SELECT {selected} FROM {table}")[0].values())


def main():
    data_dir, query_url = sys.argv[1:]
    for table, column in SIGNALS.items():
        expected = wanted(query_url, table, column)
        if expected[0] == 0:
            sys.exit(f"{table} is empty: nothing to compare")
        for reader in (with_duckdb, with_polars, with_pyarrow):
            deadline = time.monotonic() + 30
            # Until the log is compacted, and the files that a merge replaced are gone.
            while True:
                files = glob.glob(f"{data_dir}/telemetry/{table}/date=*/hour=*/*.parquet")
                try:
                    found = reader(files, column, table == "spans") if files else ()
                except (FileNotFoundError, duckdb.IOException) as gone:
                    found = (gone,)
                if found == expected:
                    break
                if time.monotonic() > deadline:
                    sys.exit(f"{reader.__name__}, {table}: wanted {expected}, found {found} in {len(files)} files")
                time.sleep(0.2)
            print(f"ok: {reader.__name__.removeprefix('with_')} finds {found} in {len(files)} files of {table}")


if __name__ == "__main__":
    main()
