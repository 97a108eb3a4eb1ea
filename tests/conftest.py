import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real faces and a real teacher, named by FACEDISTILL_DATA."""
    folder = os.environ.get("FACEDISTILL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FACEDISTILL_DATA names no folder of real faces")
    return Path(folder).resolve()
