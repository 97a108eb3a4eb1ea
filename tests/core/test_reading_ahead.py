import threading

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.reading_ahead import read_ahead


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


def test_an_error_comes_at_its_place():
    def fetch(index):
        if index == 2:
            raise FacedistillError("image 2 does not decode")
        return index

    items = read_ahead(fetch, range(5), 2, 5)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(FacedistillError, match="image 2"):
        next(items)
