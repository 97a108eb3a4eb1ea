import pytest
from torch import nn

from facedistill.models.evaluation_mode import evaluation_mode


def test_every_module_comes_back_as_it_was():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout())).train()
    network[0].eval()  # frozen statistics
    before = [module.training for module in network.modules()]
    assert before == [True, False, True, True]
    with evaluation_mode(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == before
    with pytest.raises(AttributeError), evaluation_mode(network):
        network(None)
    assert [module.training for module in network.modules()] == before


def test_what_is_no_module_has_no_mode():
    with evaluation_mode(len):
        pass
