import os
from pathlib import Path

import pytest
from hypothesis import settings

# The time of an example depends on the load of the machine: it is no reason to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real faces and a real teacher, named by FACEDISTILL_DATA."""
    folder = os.environ.get("FACEDISTILL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FACEDISTILL_DATA names no folder of real faces")
    return Path(folder).resolve()
