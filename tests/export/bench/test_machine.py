import os

import numpy as np
import pytest

from facedistill import __version__
from facedistill.core.process import usable_cpus
from facedistill.export.bench import machine as machine_module
from facedistill.export.bench.machine import Machine, this_machine


def test_a_machine_is_its_processor_memory_and_versions(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("model\t: 9\nmodel name\t:\nmodel name\t: Fast One\n")
    (tmp_path / "meminfo").write_text("MemFree: 1 kB\nMemTotal:  2000 kB\n")
    monkeypatch.setattr(machine_module, "_CPU_FACTS", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine_module, "_MEMORY_FACTS", tmp_path / "meminfo")
    found = this_machine(["numpy", "no-such-package"])
    assert (found.processor, found.memory) == ("Fast One", 2_048_000)
    assert found.cpus == usable_cpus() <= os.cpu_count()
    assert found.versions["numpy"] == np.__version__
    assert found.versions["facedistill"] == __version__
    assert "no-such-package" not in found.versions
    assert f"numpy {np.__version__}" in found.line()
    assert found.to_dict()["memory"] == 2_048_000


def test_a_system_without_such_files_is_described_too(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_module, "_CPU_FACTS", tmp_path / "absent")
    monkeypatch.setattr(machine_module, "_MEMORY_FACTS", tmp_path / "absent")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "getloadavg", raising=False)
    found = this_machine()
    assert found.processor
    assert (found.memory, found.load, found.doubt()) == (None, None, None)
    assert found.cpus == os.cpu_count()
    assert "GB" not in found.line()


@pytest.mark.parametrize(("load", "doubted"), [(0.2, False), (0.7, True), (None, False)])
def test_a_busy_machine_is_doubted(load, doubted):
    found = Machine("X", 2, None, "Linux", load, {})
    assert (found.doubt() is not None) == doubted
    if doubted:
        assert "load 0.7 on 2 CPUs" in found.doubt()
