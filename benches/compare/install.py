"""Gets the databases: embedded ones from PyPI, servers from Debian, Millrace from this repository.

What cannot be had is told and left out; nothing of the system is changed but that, as root,
PostgreSQL is installed if it is missing (it does not run from an unpacked folder).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from say import say

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EMBEDDED = {"duckdb": "duckdb", "chdb": "chdb"}
# Database: Debian's package and the program in it.
UNPACKED = {
    "victoriametrics": ("victoria-metrics", "victoria-metrics"),
    "influxdb": ("influxdb", "influxd"),
}


def cache_folder() -> Path:
    """Where what is fetched stays between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "millrace" / "compare"


def millrace(given: str | None) -> str:
    """The program to measure: the one given, or the release build of this repository."""
    if given:
        if not os.access(given, os.X_OK):
            raise SystemExit(f"compare: {given} is no program that can be run")
        return str(Path(given).resolve())
    target = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target")
    program = target / "release" / "millrace"
    if not program.exists():
        say("millrace: building the release program; this takes a while")
        command = ["cargo", "build", "-q", "--release", "--locked", "-p", "tools"]
        subprocess.run(command, cwd=REPOSITORY, check=True)
    return str(program)


def venv(wanted: list[str]) -> tuple[str, dict[str, str]]:
    """The Python of the private venv, and why embedded databases are missing, if they are."""
    folder = cache_folder() / "venv"
    python = folder / "bin" / "python"
    if not python.exists():
        say("python: making a private venv")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    missing = {}
    packages = ["pyarrow"] + [EMBEDDED[name] for name in wanted if name in EMBEDDED]
    for package in packages if len(packages) > 1 else []:
        found = subprocess.run([python, "-c", f"import {package}"], capture_output=True)
        if found.returncode == 0:
            continue
        say(f"python: installing {package}")
        command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", package]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            why = f"`pip install {package}` failed: {_last_line(done.stderr)}"
            hit = list(EMBEDDED) if package == "pyarrow" else [package]
            missing |= {name: why for name in hit if name in wanted}
    return str(python), missing


def programs(wanted: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Programs of the servers by database, and why others are missing."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, (package, program) in UNPACKED.items():
        if name in wanted:
            path, why = _unpacked(package, program)
            if path:
                found[name] = path
                found[f"{name}_package"] = _package_version(package)
            else:
                missing[name] = why
    if "postgresql" in wanted:
        folder, why = _postgresql()
        if folder:
            found["postgresql"] = folder
        else:
            missing["postgresql"] = why
    return found, missing


def _unpacked(package: str, program: str) -> tuple[str | None, str]:
    """A program on the path, or one out of Debian's package, unpacked into the cache."""
    on_path = shutil.which(program)
    folder = cache_folder() / "debian" / package
    inside = folder / "usr" / "bin" / program
    if on_path or inside.exists():
        return on_path or str(inside), ""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return None, f"`{program}` is not on the path, and there is no apt-get to fetch it with"
    say(f"debian: fetching {package}")
    folder.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "-q", "download", package]
    done = subprocess.run(download, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 and os.geteuid() == 0:
        subprocess.run(["apt-get", "-q", "update"], capture_output=True)
        done = subprocess.run(download, cwd=folder, capture_output=True, text=True)
    files = list(folder.glob("*.deb"))
    if done.returncode != 0 or not files:
        return None, f"`apt-get download {package}` failed: {_last_line(done.stderr)}"
    subprocess.run(["dpkg-deb", "-x", files[0], folder], check=True)
    files[0].unlink()
    return (str(inside), "") if inside.exists() else (None, f"{package} holds no {program}")


def _package_version(package: str) -> str:
    told = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", package], capture_output=True, text=True
    )
    for line in told.stdout.splitlines():
        if line.startswith("Version: "):
            return line.removeprefix("Version: ")
    return "unknown"


def _postgresql() -> tuple[str | None, str]:
    """The folder of the newest PostgreSQL's programs."""

    def installed() -> str | None:
        folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        newest = max(folders, key=lambda path: float(path.parent.name), default=None)
        on_path = shutil.which("initdb")
        if newest is None and on_path:
            newest = Path(on_path).resolve().parent
        return str(newest) if newest else None

    if not installed():
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            return None, "PostgreSQL is not installed: `apt-get install postgresql` as root"
        say("debian: installing postgresql")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        command = ["apt-get", "-qy", "install", "--no-install-recommends", "postgresql"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            return None, f"`apt-get install postgresql` failed: {_last_line(done.stderr)}"
    folder = installed()
    return (folder, "") if folder else (None, "no initdb after installing postgresql")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no words"
