"""Progress on standard error, so that standard output holds the table alone."""

import sys
import time

_STARTED = time.monotonic()


def say(text: str) -> None:
    """Prints a line with the time since the start."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)
