import subprocess
import sys

import pytest

from facedistill.core.memory import keep_freed_memory

FAULTS = """
import ctypes, resource, sys
from facedistill.core.memory import keep_freed_memory

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
