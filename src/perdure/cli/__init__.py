"""The command line: it parses, calls and prints, and knows nothing else.

Ctrl-C may come while the command line itself loads, so this module imports little and `main` sees to signals first.
JAX is imported by the commands that compute, not by ``--help``.
"""

from __future__ import annotations

import sys

from perdure.machine.signals import stop_quietly


def main() -> None:
    """Run the command line; errors are one message and exit status 2, unless ``--debug`` asks for the traceback."""
    stop_quietly()
    from perdure.cli.announcement import announce
    from perdure.cli.encoding import never_fail_to_print

    never_fail_to_print()
    announce(sys.argv[1:])
    from perdure.cli.app import run_command_line

    run_command_line(sys.argv[1:])
