"""What is on the screen before anything has loaded."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from perdure.cli.announcement import announce, asks_for_help, label


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run online digits-rotations --seeds 3", "online on digits-rotations"),
        ("--debug run online digits-rotations", "online on digits-rotations"),
        ("tune er mnist-split", "er on mnist-split"),
        ("rl train dqn catcher", "dqn on catcher"),
        ("rl play runs/dqn", "rl play runs/dqn"),
        ("oml evaluate sine", "oml evaluate sine"),
        ("resume runs/x", "resume runs/x"),
        ("reproduce mer --quick", "reproduce mer"),
        ("data fetch mnist", "data fetch mnist"),
        ("report runs/a runs/b runs/c", "report runs/a runs/b"),
        ("run", ""),
        ("results", ""),
        ("", ""),
        ("nonsense er", ""),
    ],
)
def test_a_command_that_lasts_is_named(words, expected):
    assert label(words.split()) == expected


@pytest.mark.parametrize("words", ["", "--help", "run er -h", "run --help", "--version", "--debug"])
def test_help_is_no_work(words):
    assert asks_for_help(words.split())


@pytest.mark.parametrize("words", ["run er digits-rotations", "results", "run er digits-rotations --seeds 2"])
def test_commands_are(words):
    assert not asks_for_help(words.split())


@pytest.mark.parametrize("words", ["run er digits-rotations --quiet", "run er --help", "results", "run"])
def test_quiet_and_quick_commands_are_not_announced(words, capsys):
    announce(words.split())
    assert capsys.readouterr() == ("", "")


COMMANDS = [
    "run online digits-rotations",
    "tune online digits-rotations --learning-rate 0.1,0.2",
    "reproduce mer --quick",
    "resume runs/x",
    "oml evaluate sine",
    "rl train dqn catcher",
    "data fetch mnist",
    "report runs/x",
]


@pytest.fixture
def terminal(tmp_path):
    """Function that starts a command in a terminal; returns the process and what reads the terminal."""
    started = []

    def start(*command):
        ours, its = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, cwd=tmp_path, env=environment)
        os.close(its)
        started.append((process, ours))
        return process, ours

    yield start
    for process, ours in started:
        process.kill()
        process.wait()
        os.close(ours)


def seconds_to_first_output(terminal, *command):
    began = time.monotonic()
    _, ours = terminal(*command)
    first = os.read(ours, 4096)
    return time.monotonic() - began, first


@pytest.mark.parametrize("command", COMMANDS)
def test_something_is_on_the_screen_at_once(command, terminal):
    """Within 0.3 s on a machine with nothing else to do: on a busy one, in no more than ten starts of Python."""
    begun, _ = seconds_to_first_output(terminal, sys.executable, "-c", "print('here')")
    seconds, first = seconds_to_first_output(terminal, sys.executable, "-m", "perdure", *command.split())
    assert "loading …" in first.decode()
    assert seconds < max(0.3, 10 * begun)


def test_the_line_gives_way_to_the_progress_bar(terminal):
    _, ours = terminal(sys.executable, "-m", "perdure", "run", "er", "digits-rotations")
    shown = b""
    while b"er on digits-rotations: 5,000 examples" not in shown:
        shown += os.read(ours, 4096)
    first, _, rest = shown.decode().partition("loading …")
    assert first == "\r\x1b[Ker on digits-rotations: "
    assert rest.startswith("\r\x1b[K")


def test_the_line_gives_way_to_an_error_and_to_ctrl_c(terminal):
    process, ours = terminal(sys.executable, "-m", "perdure", "run", "er", "nowhere")
    process.wait()
    assert "loading …\r\x1b[K" in os.read(ours, 4096).decode()
    process, ours = terminal(sys.executable, "-m", "perdure", "run", "er", "digits-rotations")
    os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    assert os.read(ours, 4096).decode().endswith("\r\x1b[K\x1b[?25hstopped; what was recorded before is kept\r\n")
