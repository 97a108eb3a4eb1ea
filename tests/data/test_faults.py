import warnings

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.faults import MOST_NAMED, Faults


def faulty(count):
    faults = Faults("faces")
    for number in range(count):
        faults.add("empty folders", f"folder {number} is empty")
    return faults


def test_faults_are_named_up_to_a_bound():
    with pytest.raises(FacedistillError, match=r"faces: 1,000 empty folders: mend that") as error:
        faulty(1000).settle(False)
    assert len(error.value.details) == MOST_NAMED + 1
    assert error.value.details[-1] == f"... and {1000 - MOST_NAMED} more"


def test_one_fault_is_one_line_and_skipping_is_offered_where_it_can_be_asked():
    with pytest.raises(FacedistillError, match=r"^folder 0 is empty, or leave it out with --skip"):
        faulty(1).settle(False)
    with pytest.raises(FacedistillError, match=r"^folder 0 is empty$"):
        faulty(1).settle(None)


def test_what_is_passed_over_is_counted():
    with pytest.warns(UserWarning, match="faces: left out: 3 empty folders, first: folder 0"):
        faulty(3).settle(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        faulty(0).settle(True)
