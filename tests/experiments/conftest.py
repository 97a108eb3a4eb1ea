from dataclasses import replace

import pytest

from facedistill.experiments import measurement


@pytest.fixture
def few_resamples(monkeypatch):
    """Intervals of 20 resamples, in this process."""
    evaluate = measurement.evaluate

    def evaluate_quickly(network, protocol, options):
        return evaluate(network, protocol, replace(options, resamples=20))

    monkeypatch.setattr(measurement, "evaluate", evaluate_quickly)
