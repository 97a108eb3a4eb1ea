import subprocess
import sys
from importlib import import_module

import pytest

ROOMS = (
    *("core", "recipe", "runtime", "faces", "data", "models", "distill"),
    *("evaluation", "engine", "export", "report", "experiments", "cli"),
)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_is_there(room):
    package = import_module(f"facedistill.{room}")
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_importing_a_room_is_cheap():
    program = (
        f"import sys, {', '.join(f'facedistill.{room}' for room in ROOMS)}; "
        "assert not {'torch', 'numpy', 'onnxruntime', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
