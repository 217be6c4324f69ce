"""What a hub knows that `legato serve --workers` started: its number, and its line to the process that looks after it.

The number stands in LEGATO_WORKER, from 0 on; a hub without workers has none. The line is standard input, a socket: a
byte from here says that the hub serves, its end from there that nobody looks after it any more (see `workers`).
"""

import os
import signal
import stat
import threading

VARIABLE = "LEGATO_WORKER"
LINE = 0
"""File descriptor of the line."""


class NotAWorkerError(Exception):
    """LEGATO_WORKER was not set by `legato serve --workers`."""


def worker_number() -> int | None:
    """Which worker this process is; None if it is none. Raise NotAWorkerError for what is no number."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise NotAWorkerError(f"{VARIABLE} is a number that `legato serve --workers` gives, not to be set by hand")
    return int(text)


def end_with_parent() -> None:
    """From now on, drain when the process that started this one is gone, however it went. Raise NotAWorkerError if this
    process has no line to one."""
    if not stat.S_ISSOCK(os.fstat(LINE).st_mode):
        raise NotAWorkerError(f"{VARIABLE} is set by `legato serve --workers`, not by hand")
    # A thread, so that it holds from the first moment on, whatever the event loop does.
    threading.Thread(target=_await_end, name="parent", daemon=True).start()


def say_serving() -> None:
    """Tell the process that started this one that the hub serves."""
    os.write(LINE, b"\n")


def _await_end() -> None:
    while os.read(LINE, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
