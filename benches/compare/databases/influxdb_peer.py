"""InfluxDB 1: loaded by line protocol, asked in InfluxQL over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from answers import Answer
from clients import http
from data import Data
from processes import Server, folder_bytes, free_port
from queries import Literals, Query, influxql

from .base import Database

WORKERS = 2
SETTLE_SECONDS_MAX = 600
# Defaults but for what concerns a large load and its compaction; the log of writes stays synced.
SETTINGS = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
  cache-max-memory-size = "4g"
  cache-snapshot-write-cold-duration = "5s"
  compact-full-write-cold-duration = "5s"
  max-concurrent-compactions = 0
  max-series-per-database = 0
  max-values-per-tag = 0
  query-log-enabled = false
[coordinator]
  write-timeout = "600s"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
  max-body-size = 0
"""


class Peer(Database):
    """The server, and one connection."""

    def __init__(self, programs: dict, folder: Path):
        super().__init__(programs, folder)
        self.port = free_port()
        settings = folder / "influxdb.conf"
        settings.write_text(SETTINGS.format(folder=folder, http=self.port, rpc=free_port()))
        self.server = Server(
            [programs["influxdb"], "run", "-config", str(settings)], folder / "log"
        )
        self.server.wait_until(lambda: http.Connection(self.port).get("/ping") != b"")
        self.connection = http.Connection(self.port)

    def version(self) -> str:
        told = subprocess.run(
            [self.programs["influxdb"], "version"], capture_output=True, text=True
        )
        found = re.search(r"v?(\d+\.\d+\S*)", told.stdout)
        return found.group(1) if found else self.programs.get("influxdb_package", "unknown")

    def prepare(self, data: Data) -> None:
        answer = self.connection.post("/query?q=" + quote("CREATE DATABASE compare"), b"")
        http.body(answer)

    def load(self, data: Data) -> None:
        http.post_pieces(self.port, "/write?db=compare", data.lines, data.pieces, WORKERS)

    def settle(self, data: Data) -> None:
        """Waits until files have not changed for ten seconds: compaction has no command."""
        until = time.monotonic() + SETTLE_SECONDS_MAX
        before, still = None, 0
        while still < 10 and time.monotonic() < until:
            time.sleep(1)
            now = sorted(str(path) for path in (self.folder / "data").rglob("*.tsm*"))
            still = still + 1 if now == before else 0
            before = now

    def disk_bytes(self, data: Data) -> int:
        return folder_bytes(self.folder / "data" / "compare")

    def question(self, query: Query, drawn: Literals, data: Data) -> str | None:
        statement = influxql.text(query.name, drawn, data.span)
        return statement and "/query?db=compare&epoch=ns&q=" + quote(statement)

    def ask(self, text: str) -> bytes:
        return self.connection.get(text)

    def decode(self, query: Query, drawn: Literals, answer: bytes) -> Answer:
        told = json.loads(http.body(answer))["results"][0]
        if "error" in told:
            raise http.HttpError(told["error"])
        rows = []
        for series in told.get("series", []):
            # Long series come in pieces that say `partial`; comparing finds out if one is missing.
            names, tags = series["columns"], series.get("tags", {})
            rows += [{**tags, **dict(zip(names, values))} for values in series["values"]]
        if query.bucket:
            for row in rows:
                row[query.columns[0]] = row.pop("time")
        return Answer.of_dicts(query.columns, rows)

    def peak_memory(self) -> int:
        return self.server.peak_memory()

    def stop(self) -> None:
        self.connection.close()
        self.server.stop()
