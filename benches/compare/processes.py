"""Servers as child processes on free ports, stopped whatever happens."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 120


class StartFailure(Exception):
    """A server did not come up; holds the end of its log."""


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running server with its log beside its data."""

    def __init__(self, arguments: list[str], log: Path, environment: dict | None = None, user=None):
        self.log = log
        with open(log, "wb") as file:
            self.child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                user=user,
                group=user,
                extra_groups=[] if user else None,
                start_new_session=True,
            )
        # Whatever goes wrong between here and an orderly end.
        atexit.register(self.stop)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Waits until `ready` is true; refusals and broken connections mean "not yet"."""
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until:
            if self.child.poll() is not None:
                break
            try:
                if ready():
                    return
            except (OSError, RuntimeError):
                pass
            time.sleep(0.05)
        words = self.log.read_text(errors="replace")[-2000:]
        self.stop()
        raise StartFailure(f"the server did not start within {START_SECONDS_MAX} s:\n{words}")

    def peak_memory(self) -> int:
        """Most memory that it ever held resident, bytes."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Asks it to stop, and kills it if it does not."""
        if self.child.poll() is not None:
            return
        self.child.send_signal(how)
        try:
            self.child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def folder_bytes(folder: Path) -> int:
    """Bytes that the files under a folder take: holes of preallocated files do not count."""
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            found = path.stat()
            total += min(found.st_size, found.st_blocks * 512)
    return total
