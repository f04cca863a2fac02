"""PostgreSQL: COPY, then indexes on series and time, asked over its wire."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from answers import Answer
from clients import pgwire
from data import Data
from processes import Server, free_port
from queries import INTEGERS, TABLES, TABLES_OF_CASE, Literals, Query, sql

from .base import Database

KEYS = {"cpu": "hostname", "readings": "name", "diagnostics": "name"}
PASSWORD = "correct horse battery"


class Dialect(sql.Dialect):
    """`date_bin` for `time_bucket`; newest rows of hosts by hops through the index."""

    def bucket(self, seconds: int, column: str) -> str:
        return f"date_bin('{seconds} seconds', {column}, '2000-01-03 00:00:00+00')"

    def lastpoint(self) -> str:
        newest = "SELECT {} FROM cpu{} ORDER BY hostname, time DESC LIMIT 1"
        first = newest.format("hostname", "")
        then = "SELECT min(hostname) FROM cpu WHERE hostname > hosts.hostname"
        row = newest.format("*", " WHERE cpu.hostname = hosts.hostname")
        return (
            f"WITH RECURSIVE hosts AS (({first}) UNION ALL SELECT ({then}) FROM hosts "
            "WHERE hosts.hostname IS NOT NULL) "
            f"SELECT newest.* FROM hosts CROSS JOIN LATERAL ({row}) AS newest "
            "WHERE hosts.hostname IS NOT NULL"
        )


class Peer(Database):
    """The server, and one connection."""

    def __init__(self, programs: dict, folder: Path):
        super().__init__(programs, folder)
        binaries = Path(programs["postgresql"])
        self.port = free_port()
        self.sockets = pgwire.folder_of_sockets()
        cluster = folder / "cluster"
        user = None
        if os.geteuid() == 0:
            # The server refuses to run as root; its own user does.
            user = "postgres"
            owner = pwd.getpwnam(user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if user:
            shutil.chown(secret, user)
        subprocess.run(
            [binaries / "initdb", "-D", cluster, "-U", "compare", "--pwfile", secret]
            + ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd=folder,
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": self.sockets,
            # The usual advice: a quarter of memory for pages, the rest for the system's cache.
            "shared_buffers": f"{_memory_mib() // 4}MB",
            "effective_cache_size": f"{_memory_mib() * 3 // 4}MB",
            "work_mem": "64MB",
            "maintenance_work_mem": "512MB",
            "max_wal_size": "8GB",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",
            "timezone": "UTC",
        }
        arguments = [str(binaries / "postgres"), "-D", str(cluster)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        self.server = Server(arguments, folder / "log", user=user)
        self.server.wait_until(self._connect)
        self.dialect = Dialect()

    def _connect(self) -> bool:
        self.wire = pgwire.Connection(self.sockets, self.port, "compare", PASSWORD, "postgres")
        return True

    def version(self) -> str:
        return self.wire.parameters.get("server_version", "unknown")

    def prepare(self, data: Data) -> None:
        for table in TABLES_OF_CASE[data.case]:
            columns = ", ".join(f"{name} {kind}" for name, kind in _types(table).items())
            self.wire.execute(f"CREATE TABLE {table} ({columns})")

    def load(self, data: Data) -> None:
        for table, path in data.csv.items():
            self.wire.copy_in(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)", path)
            self.wire.execute(f"CREATE INDEX ON {table} ({KEYS[table]}, time DESC)")
            self.wire.execute(f"CREATE INDEX ON {table} (time DESC)")

    def settle(self, data: Data) -> None:
        for table in data.csv:
            self.wire.execute(f"VACUUM (FREEZE, ANALYZE) {table}")
        self.wire.execute("CHECKPOINT")

    def disk_bytes(self, data: Data) -> int:
        sizes = " + ".join(f"pg_total_relation_size('{table}')" for table in data.csv)
        return self.wire.execute(f"SELECT {sizes}")[0][0]

    def question(self, query: Query, drawn: Literals, data: Data) -> str | None:
        return sql.text(self.dialect, query.name, drawn)

    def ask(self, text: str) -> memoryview:
        return self.wire.fetch(text)

    def count(self, answer: memoryview) -> int | None:
        return pgwire.count(answer)

    def decode(self, query: Query, drawn: Literals, answer: memoryview) -> Answer:
        return Answer.of_rows(*pgwire.decode(answer))

    def stop(self) -> None:
        self.wire.close()
        self.server.stop()
        shutil.rmtree(self.sockets)


def _types(table: str) -> dict[str, str]:
    tags, fields = TABLES[table]
    types = {"time": "timestamptz NOT NULL", **dict.fromkeys(tags, "text")}
    return types | {
        name: "bigint" if name in INTEGERS else "double precision" for name in fields
    }


def _memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
