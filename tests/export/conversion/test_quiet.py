import logging
import sys
import warnings

import pytest

from facedistill.export.conversion.quiet import quiet


def talk():
    print("step 1 of 3")
    print("50 %", file=sys.stderr)
    logging.getLogger("some.converter").warning("no accelerator")
    warnings.warn("old package", UserWarning, stacklevel=1)


def test_output_of_a_converter_is_kept_back_and_that_after_it_is_not(capsys, caplog, recwarn):
    with quiet():
        talk()
    assert capsys.readouterr() == ("", "")
    assert not caplog.records
    assert not list(recwarn)
    talk()
    assert capsys.readouterr() == ("step 1 of 3\n", "50 %\n")
    assert len(caplog.records) == len(recwarn) == 1


def test_failures_are_raised_and_end_the_silence():
    with pytest.raises(ValueError, match="no such operator"), quiet():
        raise ValueError("no such operator")
    assert not logging.root.manager.disable
