import subprocess
import sys

import pytest

from facedistill.errors import FacedistillError
from facedistill.training.folder import claim


def test_a_folder_is_held_by_one_and_free_afterwards(tmp_path):
    folder = tmp_path / "a" / "b"
    with claim(folder), pytest.raises(FacedistillError, match="in use by another"), claim(folder):
        pass
    with claim(folder):
        pass


def test_a_killed_process_leaves_no_claim(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from facedistill.training.folder import claim\n"
        "with claim(Path(sys.argv[1])): print('mine', flush=True); os.kill(os.getpid(), 9)"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
    assert child.stdout == b"mine\n"
    with claim(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FacedistillError, match="cannot write to"), claim(tmp_path / "file" / "run"):
        pass
