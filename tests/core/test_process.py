import os
import subprocess
import sys

import pytest

from facedistill.core.process import keep_freed_memory, usable_cpus, usable_processors

PROCESS = """
import atexit, sys
from facedistill.core.process import end_without_teardown

class Last:
    def __del__(self):
        print("torn down")

last = Last()
with end_without_teardown():
    atexit.register(print, "registered")
    print("printed", end="")
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
    assert process.stdout == "printedregistered\n" + ("" if several else "torn down\n")
    assert ("ZeroDivisionError" in process.stderr) == (ending == "1 / 0")


def test_processors_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5, 2}, raising=False)
    assert usable_processors() == [2, 5]
    assert usable_cpus() == 2


def test_where_the_system_does_not_tell_they_are_all(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_processors() == [0, 1, 2]
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1


FAULTS = """
import ctypes, resource, sys
from facedistill.core.process import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
system = ctypes.CDLL(None)
system.malloc.restype = ctypes.c_void_p

def step():
    buffer = ctypes.c_void_p(system.malloc(1 << 26))
    ctypes.memset(buffer, 1, 1 << 26)
    system.free(buffer)

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    command = [sys.executable, "-c", FAULTS, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="the allocator is not glibc's")
def test_freed_memory_is_used_again():
    assert page_faults("keep") * 10 < page_faults("give back")
