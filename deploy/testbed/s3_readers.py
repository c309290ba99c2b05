"""Counts a table of a bucket as those do who are not Faultline: s3_readers.py ENDPOINT s3://bucket/prefix TABLE COLUMN

Reads every listing of the table and then what they name. Prints a line a reader: its name, rows, and distinct values of the column.
"""

import glob
import json
import os
import sys

import duckdb
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

endpoint, url, table, column = sys.argv[1:]
place = url.removeprefix("s3://")
host = endpoint.removeprefix("http://")

s3 = fs.S3FileSystem(endpoint_override=host, scheme="http", region=os.environ["AWS_REGION"])
folder = fs.FileSelector(f"{place}/{table}", recursive=True)
listings = [entry.path for entry in s3.get_file_info(folder) if entry.base_name == "_files.json"]
named = [file for at in listings for file in json.loads(s3.open_input_stream(at).read())["files"]]
dataset = ds.dataset([f"{place}/{file['path']}" for file in named], filesystem=s3, format="parquet")
values = dataset.to_table(columns=[column])[column]
assert len(values) == sum(file["rows"] for file in named), "a listing knows the rows of its files"
print("pyarrow", len(values), pc.count_distinct(values), sep="\t")

(extension,) = glob.glob(f"{sys.prefix}/lib/*/site-packages/duckdb_ext/extensions/*/*/httpfs.duckdb_extension")
duck = duckdb.connect()
duck.execute(f"LOAD '{extension}'")
duck.execute(
    f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', "
    f"REGION '{os.environ['AWS_REGION']}', ENDPOINT '{host}', USE_SSL false, URL_STYLE 'path')"
)
duck.execute(
    f"SET VARIABLE files = (SELECT list('s3://{place}/' || file.path) FROM "
    f"(SELECT unnest(files) AS file FROM read_json('s3://{place}/{table}/*/_files.json')))"
)
rows, distinct = duck.execute(
    f"SELECT count(*), count(DISTINCT {column}) FROM read_parquet(getvariable('files'), hive_partitioning = true)"
).fetchone()
print("duckdb", rows, distinct, sep="\t")
