import os
import subprocess
import sys

import pytest

PROCESS = """
import atexit, sys
from facedistill.core.process import end_without_teardown

class Last:
    def __del__(self):
        print("torn down")

last = Last()
with end_without_teardown():
    atexit.register(print, "registered")
    print("said", end="")
    {ending}
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [("pass", 0), ("sys.exit()", 0), ("sys.exit(75)", 75), ("sys.exit('no')", 1), ("1 / 0", 1)],
)
@pytest.mark.parametrize("several", [False, True])
def test_the_exit_code_and_what_runs_at_the_end(ending, code, several):
    process = subprocess.run(
        [sys.executable, "-c", PROCESS.format(ending=ending)],
        env={**os.environ, "WORLD_SIZE": "2" if several else "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == code
    assert process.stdout == "saidregistered\n" + ("" if several else "torn down\n")
    assert ("ZeroDivisionError" in process.stderr) == (ending == "1 / 0")
