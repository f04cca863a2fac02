"""Millrace: a server of its own with default settings, loaded by line protocol over HTTP, asked
over the Postgres wire."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from answers import Answer
from clients import http, pgwire
from data import Data
from processes import Server, free_port
from queries import TABLES_OF_CASE, Literals, Query, sql

from .base import Database

PASSWORD = "correct horse battery"
LOGIN = {"user": "admin", "password": PASSWORD}
WORKERS = 2


class Peer(Database):
    """The server, and one connection of the Postgres wire."""

    def __init__(self, programs: dict, folder: Path):
        super().__init__(programs, folder)
        self.pg_port, self.http_port = free_port(), free_port()
        self.sockets = pgwire.folder_of_sockets()
        self.server = Server(
            [programs["millrace"], "serve", "--data-dir", str(folder / "data")]
            + ["--listen-pg", f"127.0.0.1:{self.pg_port}", "--listen-pg-socket", self.sockets]
            + ["--listen-http", f"127.0.0.1:{self.http_port}", "--listen-grpc", "off"],
            folder / "log",
            {"MILLRACE_ADMIN_PASSWORD": PASSWORD},
        )
        log = folder / "log"
        self.server.wait_until(lambda: "Ctrl-C stops" in log.read_text(errors="replace"))
        self.wire = pgwire.Connection(self.sockets, self.pg_port, "admin", PASSWORD, "millrace")
        self.dialect = sql.Dialect()

    def version(self) -> str:
        welcome = (self.folder / "log").read_text(errors="replace")
        found = re.search(r"^Millrace (\S+)", welcome, re.MULTILINE)
        return found.group(1) if found else "unknown"

    def prepare(self, data: Data) -> None:
        """Line protocol makes its tables itself."""

    def load(self, data: Data) -> None:
        # Each request is durable and visible when it is acknowledged.
        http.post_pieces(self.http_port, "/write", data.lines, data.pieces, WORKERS, **LOGIN)

    def settle(self, data: Data) -> None:
        self.wire.execute("CHECKPOINT")
        self.wire.execute("VACUUM FULL")

    def disk_bytes(self, data: Data) -> int:
        names = ", ".join(f"'{table}'" for table in TABLES_OF_CASE[data.case])
        rows = self.wire.execute(
            "SELECT CAST(sum(part_bytes) AS bigint), CAST(sum(series_bytes) AS bigint) "
            f"FROM sys.tables WHERE name IN ({names})"
        )
        return sum(rows[0])

    def question(self, query: Query, drawn: Literals, data: Data) -> str | None:
        return sql.text(self.dialect, query.name, drawn)

    def ask(self, text: str) -> memoryview:
        return self.wire.fetch(text)

    def count(self, answer: memoryview) -> int | None:
        return pgwire.count(answer)

    def decode(self, query: Query, drawn: Literals, answer: memoryview) -> Answer:
        return Answer.of_rows(*pgwire.decode(answer))

    def peak_memory(self) -> int:
        return self.server.peak_memory()

    def stop(self) -> None:
        self.wire.close()
        self.server.stop()
        shutil.rmtree(self.sockets)
