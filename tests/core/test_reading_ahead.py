import os
import signal
import threading

import pytest

from facedistill.core import reading_ahead
from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.reading_ahead import read_ahead
from facedistill.core.signals import stoppable


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_items_come_in_order(threads, ahead):
    assert list(read_ahead(str, [3, 1, 2, 5, 4], threads, ahead)) == ["3", "1", "2", "5", "4"]


def test_no_more_than_asked_is_fetched_ahead():
    fetched = []
    items = read_ahead(fetched.append, range(20), 1, 3)
    next(items)
    assert len(fetched) <= 4
    items.close()
    assert not any(t.name.startswith("read-ahead") for t in threading.enumerate())


def test_who_leaves_does_not_wait_for_what_does_not_answer(monkeypatch):
    monkeypatch.setattr(reading_ahead, "_PATIENCE", 0)
    answered, asked = threading.Event(), threading.Event()

    def fetch(index):
        if index == 1:
            asked.set()
            answered.wait()
        return index

    items = read_ahead(fetch, range(3), 1, 3)
    assert next(items) == 0
    asked.wait()
    items.close()
    stuck = [each for each in threading.enumerate() if each.name.startswith("read-ahead")]
    assert [each.daemon for each in stuck] == [True]
    answered.set()
    stuck[0].join()


def test_an_error_comes_at_its_place():
    def fetch(index):
        if index == 2:
            raise FacedistillError("image 2 does not decode")
        return index

    items = read_ahead(fetch, range(5), 2, 5)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(FacedistillError, match="image 2"):
        next(items)


def test_who_is_interrupted_while_waiting_does_not_wait_on(monkeypatch):
    monkeypatch.setattr(reading_ahead, "_PATIENCE", 0)
    answered, asked = threading.Event(), threading.Event()

    def fetch(index):
        asked.set()
        answered.wait()

    def interrupt():
        asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Interrupted), stoppable(lambda: "stopped"):
        next(read_ahead(fetch, range(3), 1, 3))
    answered.set()
