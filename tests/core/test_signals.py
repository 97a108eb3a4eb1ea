import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from facedistill.core import signals
from facedistill.core.errors import Interrupted
from facedistill.core.signals import (
    STOP_SIGNALS,
    leave_signals_to_parent,
    signals_blocked,
    stop_request,
    stoppable,
    take_signals,
)


def handlers():
    return [signal.getsignal(number) for number in STOP_SIGNALS]


def send(number):
    os.kill(os.getpid(), number)


def standing():
    return "stopped, 3 of 5 are written: run the same command to go on"


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_becomes_a_request_and_old_handlers_come_back(number):
    before = handlers()
    with stop_request() as stop:
        assert not stop.received
        send(number)
        assert stop.received
    assert handlers() == before


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_what_can_be_stopped_anywhere_is_left_at_once_and_says_where_it_stands(number):
    before = handlers()
    with pytest.raises(Interrupted, match="stopped, 3 of 5"), stoppable(standing):
        send(number)
    assert handlers() == before


def test_a_second_ctrl_c_ends_what_hangs():
    with stop_request():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_further_signals_of_the_system_do_not_disturb_the_end(number):
    with stop_request() as stop:
        send(signal.SIGTERM)
        send(number)
        assert stop.received

    def work():
        with stoppable(standing), stoppable(lambda: "inner"):
            try:
                send(signal.SIGTERM)
            finally:
                send(number)

    with pytest.raises(Interrupted, match="inner"):
        work()


def test_a_request_does_not_wait_for_what_may_take_any_time():
    with stop_request() as stop:
        with pytest.raises(Interrupted), stop.waiting():
            send(signal.SIGTERM)
        assert stop.received
        with pytest.raises(Interrupted), stop.waiting():
            pytest.fail("a request that came before was forgotten")


def test_a_block_within_another_has_its_own_way_to_stop():
    def work():
        with stoppable(standing):
            with stop_request() as stop:
                send(signal.SIGTERM)
            assert stop.received
            send(signal.SIGTERM)

    with pytest.raises(Interrupted, match="3 of 5"):
        work()


def test_what_runs_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(standing):
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_library_that_passes_over_exceptions_passes_over_a_stop():
    with pytest.raises(Interrupted), stoppable(standing), suppress(Exception):
        send(signal.SIGTERM)


def convert():
    try:
        send(signal.SIGTERM)
    except Interrupted as stop:
        raise ValueError(f"error in a callback: {stop}") from stop


def swallow():
    with suppress(BaseException):
        send(signal.SIGTERM)


@pytest.mark.parametrize("library", [convert, swallow])
def test_a_stop_stays_one_whatever_a_library_makes_of_it(library):
    with pytest.raises(Interrupted, match="stopped, 3 of 5"), stoppable(standing):
        library()


def test_who_asks_again_later_is_answered_again(monkeypatch):
    monkeypatch.setattr(signals, "_PAUSE", 0)

    def work():
        with stoppable(standing):
            swallow()
            send(signal.SIGTERM)
            pytest.fail("went on")

    with pytest.raises(Interrupted):
        work()


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(ValueError, match=r"^mine$"), stoppable(standing):
        raise ValueError("mine")


def test_other_threads_take_no_signals_and_go_on():
    seen = []

    def work():
        with stop_request() as stop, stoppable(standing):
            seen.append(stop.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def in_a_fork(work):
    """The exit code of a forked process: 0 where `work` returns, else what it raises says."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except KeyboardInterrupt:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_process_that_a_library_forked_ends_without_a_word():
    with stoppable(standing):
        assert in_a_fork(lambda: send(signal.SIGTERM)) == 3


def test_a_process_that_starts_meets_no_signal_before_it_can_answer():
    def start():
        for number in STOP_SIGNALS:
            send(number)
        leave_signals_to_parent()
        for number in STOP_SIGNALS:
            send(number)

    with stoppable(standing), signals_blocked():
        assert in_a_fork(start) == 0


def test_signals_held_back_are_answered_afterwards():
    held_back = []

    def work():
        with stoppable(standing), signals_blocked():
            send(signal.SIGTERM)
            held_back.append(True)
            take_signals()
            held_back.append(False)

    def check():
        with pytest.raises(Interrupted):
            work()
        assert held_back == [True]

    # In a process of one thread: of several, another would take the signal.
    assert in_a_fork(check) == 0


LEAVING = """
import multiprocessing, signal, sys
from facedistill.core.signals import leave_signals_to_parent, start_worker

fork = multiprocessing.get_context("fork")

def serve():
    leave_signals_to_parent()
    signal.pause()

def work():
    start_worker(fork.Process(target=serve, daemon=True))
    print("leaves", flush=True)

if sys.argv[1] == "run":
    run = fork.Process(target=work)
    run.start()
    run.join()
else:
    work()
"""


@pytest.mark.parametrize("process", ["command", "run"])
def test_a_worker_that_nobody_has_ended_keeps_nobody_from_leaving(process):
    """Neither a command, nor a run of a comparison, which `multiprocessing` has started."""
    leaving = [sys.executable, "-c", LEAVING, process]
    done = subprocess.run(leaving, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"leaves\n", b"")


HANGING = """
import ctypes, signal, sys
from facedistill.core import signals

signals._PATIENCE = 0
mutex = ctypes.create_string_buffer(64)
lock = ctypes.CDLL(None).pthread_mutex_lock
lock(mutex)
with signals.ended_by_second_interrupt(), signals.stop_request():
    print("hangs", flush=True)
    lock(mutex)
"""


def test_a_second_ctrl_c_ends_what_hangs_outside_of_python():
    with subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"hangs\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        # Two signals of one kind may arrive as one.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait() == 130
