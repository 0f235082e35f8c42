"""Outputs of a model and of tapped modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import KDPluginsError
from kd_plugins.visualization.tapping import tapped


class Network(nn.Module):
    """A network of one layer that doubles."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, inputs: Tensor, mode: str) -> Tensor:
        assert mode == 'tensor'
        return 2 * self.layer(inputs + 1)


def test_the_output_and_what_the_layers_returned() -> None:
    network = Network()
    output, outputs = tapped(network, 'distillers.a', {'logits': 'layer'}, torch.ones(1, 2))
    assert output.tolist() == [[4.0, 4.0]] and outputs['logits'][0].tolist() == [[2.0, 2.0]]
    assert not network.layer._forward_hooks  # nothing stays on the model


def test_an_error_names_the_key_of_the_config() -> None:
    with pytest.raises(KDPluginsError, match=r'distillers\.a\.logits.*layr'):
        tapped(Network(), 'distillers.a', {'logits': 'layr'}, torch.ones(1, 2))
