"""VictoriaMetrics: single node, loaded by line protocol, asked in MetricsQL over HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

from answers import Answer
from clients import http
from data import Data
from processes import Server, folder_bytes, free_port
from queries import CPU_TAGS, Literals, Query, metricsql

from .base import Database

WORKERS = 2
MERGE_SECONDS_MAX = 600


class Peer(Database):
    """The server, and one connection."""

    def __init__(self, programs: dict, folder: Path):
        super().__init__(programs, folder)
        self.port = free_port()
        self.server = Server(
            [programs["victoriametrics"], f"-storageDataPath={folder / 'data'}"]
            + [f"-httpListenAddr=127.0.0.1:{self.port}", "-retentionPeriod=100y"]
            + ["-search.maxUniqueTimeseries=10000000", "-search.maxSamplesPerQuery=10000000000"]
            + ["-search.maxQueryDuration=10m", "-search.maxConcurrentRequests=8"]
            # Connections are closed after two minutes otherwise, also in use.
            + ["-http.connTimeout=24h", "-http.idleConnTimeout=24h"],
            folder / "log",
        )
        self.server.wait_until(lambda: http.body(http.Connection(self.port).get("/health")) != b"")
        self.connection = http.Connection(self.port)

    def version(self) -> str:
        told = subprocess.run(
            [self.programs["victoriametrics"], "-version"], capture_output=True, text=True
        )
        found = re.search(r"v?(\d+\.\d+\.\d+\S*)", told.stdout + told.stderr)
        return found.group(1) if found else self.programs.get("victoriametrics_package", "unknown")

    def prepare(self, data: Data) -> None:
        """Line protocol makes series as it comes."""

    def load(self, data: Data) -> None:
        http.post_pieces(self.port, "/write", data.lines, data.pieces, WORKERS)
        # Rows are acknowledged before they are on disk or visible; this ends with both.
        http.body(self.connection.get("/internal/force_flush"))

    def settle(self, data: Data) -> None:
        http.body(self.connection.get("/internal/force_merge"))
        until = time.monotonic() + MERGE_SECONDS_MAX
        quiet = 0
        while quiet < 4 and time.monotonic() < until:
            time.sleep(0.5)
            metrics = http.body(self.connection.get("/metrics")).decode()
            merging = re.findall(r"^vm_active(?:_force)?_merges.* (\d+)$", metrics, re.MULTILINE)
            if not merging:
                raise http.HttpError("/metrics does not tell whether merges run")
            quiet = quiet + 1 if all(count == "0" for count in merging) else 0

    def disk_bytes(self, data: Data) -> int:
        folder = self.folder / "data"
        return folder_bytes(folder / "data") + folder_bytes(folder / "indexdb")

    def question(self, query: Query, drawn: Literals, data: Data) -> str | None:
        return metricsql.path(query.name, drawn, data.span)

    def ask(self, text: str) -> bytes:
        return self.connection.get(text)

    def decode(self, query: Query, drawn: Literals, answer: bytes) -> Answer:
        told = json.loads(http.body(answer))
        if told.get("status") != "success" or told.get("isPartial"):
            raise http.HttpError(f"the answer is no success: {told.get('error', told)}")
        series = told["data"]["result"]
        if query.name == "lastpoint":
            return _lastpoint(query, series)
        return _buckets(query, drawn, series)

    def peak_memory(self) -> int:
        return self.server.peak_memory()

    def stop(self) -> None:
        self.connection.close()
        self.server.stop(signal.SIGINT)


def _buckets(query: Query, drawn: Literals, series: list) -> Answer:
    """Each series is one column of the rows of its host and bucket."""
    of_host = "hostname" in query.columns
    function = "avg" if of_host else "max"
    rows: dict[tuple, dict] = {}
    for one in series:
        host = one["metric"].get("hostname")
        name = one["metric"].get("__name__", f"cpu_{drawn.metrics[0]}").removeprefix("cpu_")
        for moment, value in one["values"]:
            # Asked at the last millisecond of the bucket.
            start = round(moment) - query.bucket
            row = rows.setdefault((start, host), {})
            row[f"{function}_{name}"] = float(value)
    label = query.columns[0]
    for (start, host), row in rows.items():
        row[label] = start * 1_000_000_000
        if of_host:
            row["hostname"] = host
    return Answer.of_dicts(query.columns, rows.values())


def _lastpoint(query: Query, series: list) -> Answer:
    rows: dict[str, dict] = {}
    for one in series:
        labels, value = one["metric"], float(one["value"][1])
        row = rows.setdefault(labels["hostname"], {tag: labels[tag] for tag in CPU_TAGS})
        name = labels.get("__name__")
        if name is None:
            row["time"] = round(value) * 1_000_000_000
        else:
            row[name.removeprefix("cpu_")] = value
    return Answer.of_dicts(query.columns, rows.values())
