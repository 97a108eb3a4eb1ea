import os
import signal
import threading

import pytest

from facedistill.core.errors import Interrupted
from facedistill.engine.signals import stop_request, stoppable
from facedistill.experiments import run as run_module
from facedistill.experiments.run import run
from tests.engine.standin import tiny_recipe


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_becomes_a_request_and_old_handlers_come_back(number):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_request() as stop:
        assert not stop.received
        os.kill(os.getpid(), number)
        assert stop.received
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_ctrl_c_ends_what_hangs():
    with stop_request():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_take_no_signals_and_go_on():
    seen = []

    def work():
        with stop_request() as stop:
            seen.append(stop.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["create_training_step", "write_run_card"])
def test_a_signal_outside_the_loop_stops_at_once_and_the_run_goes_on(
    tmp_path, monkeypatch, moment, number
):
    recipe, handlers = tiny_recipe("training.steps=1"), signal.getsignal(signal.SIGTERM)

    def signalled(*arguments):
        os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, moment, signalled)
        with pytest.raises(Interrupted, match=f"{tmp_path} keeps .*: run the same command to go"):
            run(recipe, tmp_path, lambda line: None)
    assert signal.getsignal(signal.SIGTERM) == handlers
    assert not (tmp_path / "summary.json").exists()
    assert run(recipe, tmp_path, lambda line: None).steps == 1


def test_the_loop_has_its_own_way_to_stop(tmp_path):
    with stoppable(tmp_path):
        with stop_request() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_forked_reader_ends_without_a_word(tmp_path):
    with stoppable(tmp_path):
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                os._exit(3)
            os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
