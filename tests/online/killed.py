"""Does something in processes that die at a chosen step, which the tests name by its number.

A line on standard input is a step, a name of what to do, and its arguments; the answer is "killed", or "done" and the
number of steps that there were. A step is a file or folder that is opened, made, renamed, removed or synced in the
folders given, or a statement of SQLite that begins, or goes on for long.

The processes are forked from this one, which has imported all that they need and started nothing: so they begin fast.
"""

import os
import signal
import sqlite3
import sys
import traceback
from pathlib import Path

from perdure.online.backup import backup_model, restore_model
from perdure.online.journal import Journal

COUNTED = ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "ctypes.dlsym", "sqlite3.connect")
LONG = 1_000
"""Instructions of SQLite's machine."""


class Steps:
    """Counts steps, and kills this process at one."""

    def __init__(self, last, roots):
        self.n = 0
        self._last, self._roots = last, tuple(str(Path(it).parent) for it in roots)

    def count(self, *_):
        self.n += 1
        if self.n == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event, arguments):
        if event in COUNTED and (event == "ctypes.dlsym" or str(arguments[0]).startswith(self._roots)):
            self.count()

    def watch(self):
        connect, fsync = sqlite3.connect, os.fsync

        def connected(*arguments, **options):
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self.count)
            connection.set_progress_handler(self.count, LONG)
            return connection

        def synced(descriptor):
            self.count()
            fsync(descriptor)

        sqlite3.connect, os.fsync = connected, synced
        sys.addaudithook(self.audit)


def migrate(folder):
    Journal(Path(folder) / "journal.sqlite", writable=True).close()


def make(folder):
    Journal(Path(folder) / "journal.sqlite", writable=True, settings={"method": "er"}).close()


DOINGS = {
    "make": make,
    "backup": lambda source, target: backup_model(source, target),
    "restore": lambda source, target: restore_model(source, target),
    "replace": lambda source, target, aside: restore_model(source, target, set_aside=aside),
    "migrate": migrate,
}


def done_in_child(step, name, arguments, answer):
    steps = Steps(step, arguments)
    steps.watch()
    try:
        DOINGS[name](*arguments)
        os.write(answer, f"{steps.n}".encode())
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(0)


def main():
    for line in sys.stdin:
        step, name, *arguments = line.split()
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            done_in_child(int(step), name, arguments, theirs)
        os.close(theirs)
        _, status = os.waitpid(child, 0)
        n_steps = os.read(ours, 20).decode()
        os.close(ours)
        killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        print("killed" if killed else f"done {n_steps}" if n_steps else "failed", flush=True)


if __name__ == "__main__":
    main()
