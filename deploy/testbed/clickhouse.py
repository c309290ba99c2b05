"""The ClickHouse engine behind a small HTTP server, for tests only. Prints its address and serves.

What of ClickHouse's HTTP interface it has: the statement in `query` or in the body; an insert's rows in the body, plain or in
LZ4 blocks (`decompress=1`), whole or chunked; `database`, `default_format` and settings of an insert as parameters; errors as
text with X-ClickHouse-Exception-Code; answers in Native as of a `client_protocol_version`, which clickhouse-go reads, of the types
it asks for before it inserts. What it has not: users, sessions, compressed answers, settings of anything but inserts. One statement
runs at a time.
"""

import json
import os
import re
import struct
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import lz4.block
from chdb import session

NOT_SETTINGS = {"query", "database", "default_format", "compress", "decompress", "user", "password", "role"}
NOT_SETTINGS |= {"client_protocol_version", "query_id", "quota_key"}
INSERT = re.compile(r"\s*(INSERT\s+INTO\s.*?)\s+FORMAT\s+(\w+)\s*$", re.S | re.I)

engine = session.Session(sys.argv[1])
one = threading.Lock()


def decompressed(body):
    """Blocks of: checksum (16 bytes), method, size with this header, size of the data, data."""
    parts, at = [], 0
    while at < len(body):
        method, size, plain = struct.unpack_from("<BII", body, at + 16)
        if method != 0x82:
            raise ValueError(f"compression method {method:#x} is not LZ4")
        parts.append(lz4.block.decompress(body[at + 25 : at + 16 + size], uncompressed_size=plain))
        at += 16 + size
    return b"".join(parts)


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def string(value):
    value = value.encode()
    return varint(len(value)) + value


def native(statement):
    """One block of the newer Native: what it is, and of each column whether its values are in a form of their own."""
    answer = engine.query(statement, "JSONCompact").bytes()
    if not answer:
        return b""
    answer = json.loads(answer)
    block = b"\1\0" + b"\2" + struct.pack("<i", -1) + b"\0" + varint(len(answer["meta"])) + varint(len(answer["data"]))
    encode = {"String": string, "UInt32": lambda number: struct.pack("<I", number)}
    for index, column in enumerate(answer["meta"]):
        block += string(column["name"]) + string(column["type"]) + b"\0"
        block += b"".join(encode[column["type"]](row[index]) for row in answer["data"])
    return block


def run(statement, parameters, body):
    with one:
        if parameters.get("database"):
            engine.query(f"USE `{parameters['database']}`")
        insert = INSERT.match(statement)
        if not insert and "client_protocol_version" in parameters:
            return native(statement)
        if not insert:
            return engine.query(statement, parameters.get("default_format", "TabSeparated")).bytes()
        settings = {name: value for name, value in parameters.items() if name not in NOT_SETTINGS}
        settings = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
        with tempfile.NamedTemporaryFile(delete=False) as file:
            # Rows inside the text of a statement would end at a `;`.
            file.write(body)
        try:
            text = f"{insert[1]} FROM INFILE '{file.name}'" + (f" SETTINGS {settings}" if settings else "")
            engine.query(f"{text} FORMAT {insert[2]}")
        finally:
            os.unlink(file.name)
        return b""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.body())

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, body):
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        try:
            if parameters.get("decompress") == "1":
                body = decompressed(body)
            statement = parameters.get("query") or body.decode()
            self.reply(200, run(statement, parameters, body) or b"")
        except Exception as error:
            text = str(error)
            code = re.search(r"Code: (\d+)", text)
            print(text, file=sys.stderr, flush=True)
            self.reply(500, text.encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1002"})

    def reply(self, status, body, headers={}):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
