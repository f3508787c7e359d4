"""Requests to stop are noted while a block runs, and nothing else is changed."""

import copy
import signal
import threading

import pytest

from perdure.machine.signals import STOP_SIGNALS as SIGNALS
from perdure.machine.signals import InterruptedRunError, StopRequests


@pytest.fixture
def own_handlers():
    """Handlers that note what reaches them, put in place for one test."""
    reached = []
    before = {number: signal.signal(number, lambda number, frame: reached.append(number)) for number in SIGNALS}
    yield reached
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def pythons_ctrl_c():
    """Ctrl-C as Python has it: a shell that starts tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_is_noted_and_a_second_acts_as_before(own_handlers, number):
    with StopRequests() as stop:
        assert stop.received is None
        signal.raise_signal(number)
        assert stop.received == number
        assert own_handlers == []
        signal.raise_signal(number)
        assert own_handlers == [number]


def test_signals_of_both_kinds_are_noted(own_handlers):
    with StopRequests() as stop:
        for number in SIGNALS:
            signal.raise_signal(number)
            assert stop.received == number
    assert own_handlers == []


@pytest.mark.parametrize("received", [[], SIGNALS])
@pytest.mark.parametrize("error", [None, KeyError])
def test_handlers_are_put_back(own_handlers, received, error):
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        with StopRequests():
            assert [signal.getsignal(number) for number in SIGNALS] != before
            for number in received:
                signal.raise_signal(number)
            if error is not None:
                raise error
    except KeyError:
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_ctrl_c_is_a_keyboard_interrupt(pythons_ctrl_c):
    with StopRequests():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_leave_the_handlers_alone(own_handlers):
    before = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def enter():
        with StopRequests() as stop:
            seen.append([signal.getsignal(number) for number in SIGNALS])
            seen.append(stop.received)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before, None]


def test_the_error_survives_the_way_between_processes():
    error = copy.copy(InterruptedRunError("stopped at example 5", signal.SIGTERM))  # rebuilt as pickle would
    assert (str(error), error.signal_number) == ("stopped at example 5", signal.SIGTERM)
