import sys

import pytest

from tests.hostile.mutations import peaks, tally


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how many mutations of each reader had which outcome."""
    if not tally:
        return
    terminalreporter.section("mutations")
    for reader in sorted({reader for reader, _ in tally}):
        ends = {end: count for (name, end), count in sorted(tally.items()) if name == reader}
        outcomes = ", ".join(f"{count:,} {end}" for end, count in ends.items())
        terminalreporter.line(f"{reader}: {outcomes}; at most {peaks[reader] / 2**20:.1f} MiB")


@pytest.fixture(autouse=True)
def _needs_linux() -> None:
    if sys.platform != "linux":
        pytest.skip("memory is measured by Linux alone")
