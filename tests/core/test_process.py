import os
import subprocess
import sys

import pytest

from facedistill.core import process
from facedistill.core.process import (
    free_memory,
    keep_freed_memory,
    usable_cpus,
    usable_processors,
)

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
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(ending=ending)],
        env={**os.environ, "WORLD_SIZE": "2" if several else "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert done.stdout == "printedregistered\n" + ("" if several else "torn down\n")
    assert ("ZeroDivisionError" in done.stderr) == (ending == "1 / 0")


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


@pytest.mark.parametrize(
    ("limit", "free"), [(None, 3_000_000 * 1024), ("max", 3_000_000 * 1024), ("1000", 700)]
)
def test_free_memory_is_the_machines_or_what_the_container_leaves(
    monkeypatch, tmp_path, limit, free
):
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:  3000000 kB\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("500\n")
        (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 200\n")
    monkeypatch.setattr(process, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(process, "_CGROUP", tmp_path)
    assert free_memory() == free


def test_a_system_that_does_not_tell_has_all_its_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(process, "_CGROUP", tmp_path)
    assert free_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
