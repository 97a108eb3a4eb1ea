import os
import signal
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import settings

from facedistill.data.formats import procedural

# The time of an example depends on the load of the machine: it is no reason to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def hang_up_signal_heard():
    """Hear SIGHUP, which tests send: a suite that was started by nohup would ignore it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def no_detector_installed(tmp_path_factory):
    """Let tests see a user who has fetched nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEDISTILL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def faces_drawn_once():
    """Let data sets draw each face once: it is the same whenever it is drawn, and takes 2 ms."""
    drawn = lru_cache(maxsize=4096)(procedural.procedural_face)

    def copied(*arguments, **options):
        image, landmarks = drawn(*arguments, **options)
        return image.copy(), landmarks.copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedural, "procedural_face", copied)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real faces and a real teacher, named by FACEDISTILL_DATA."""
    folder = os.environ.get("FACEDISTILL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FACEDISTILL_DATA names no folder of real faces")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def yunet(real_data) -> Path:
    """The detector's file among the real data."""
    path = real_data / "detector" / "yunet_n_640_640.onnx"
    if not path.is_file():
        pytest.skip("FACEDISTILL_DATA has no detector")
    return path
