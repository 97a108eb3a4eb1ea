import pytest

from facedistill.core.errors import FacedistillError
from facedistill.engine.accelerator import check_micro_batches


def test_too_few_images_for_each_process_are_refused():
    check_micro_batches(8, 1, 4)
    with pytest.raises(FacedistillError, match="fewer than 2 images at a time"):
        check_micro_batches(8, 2, 4)
