import pytest

from facedistill.core.errors import FacedistillError
from facedistill.engine.accelerator import check_micro_batches
from tests.engine.standin import tiny_recipe


def test_too_few_images_for_each_process_are_refused():
    class Four:
        num_processes = 4

    check_micro_batches(tiny_recipe(), Four())
    with pytest.raises(FacedistillError, match="fewer than 2 images at a time"):
        check_micro_batches(tiny_recipe("training.accumulate=2"), Four())
