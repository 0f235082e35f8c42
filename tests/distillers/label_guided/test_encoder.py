"""The label encoder: sizes, order and padding of objects."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_plugins.distillers.label_guided import LabelEncoder
from kd_plugins.distillers.label_guided.encoder import NormedLayer


def encoder(width: float = 0.125) -> LabelEncoder:
    torch.manual_seed(0)
    return LabelEncoder(7, 16, width)


def inputs() -> tuple[Tensor, Tensor]:
    valid = torch.tensor([[True, True, True], [True, False, False]])
    return 2 * torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(1)) - 1, valid


def test_a_layer() -> None:
    layer, x = NormedLayer(5, 4), torch.randn(3, 2, 5)
    torch.testing.assert_close(layer(x), F.relu(nn.LayerNorm(4, elementwise_affine=False)(layer.linear(x))))


def test_number_of_parameters() -> None:
    """The sizes of the release for COCO: 4.89 M in the PointNet, and a layer of 256 by 256."""
    count = sum(param.numel() for param in LabelEncoder(84, 256).parameters())
    assert abs(count - (4.89e6 + 256 * 257)) < 1e4
    assert sum(param.numel() for param in LabelEncoder(7, 64, 0.25).parameters()) < 0.3e6


def test_order_and_padding_of_objects() -> None:
    net, (x, valid) = encoder(), inputs()
    embeddings = net(x, valid)
    assert embeddings.shape == (2, 3, 16)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(net(x[:, order], valid[:, order]), embeddings[:, order])
    for number, image in ((3, 0), (1, 1)):
        alone = net(x[image : image + 1, :number], valid[image : image + 1, :number])
        torch.testing.assert_close(alone[0], embeddings[image, :number])
    assert net(x, torch.zeros_like(valid)).isfinite().all()


def test_an_object_sees_the_others_of_its_image() -> None:
    net, (x, valid) = encoder(0.5), inputs()
    before = net(x, valid)
    changed = x.clone()
    changed[0, 2] = -changed[0, 2]
    after = net(changed, valid)
    assert not torch.allclose(after[0, 0], before[0, 0]) and torch.equal(after[1, 0], before[1, 0])


@pytest.mark.parametrize('empty', [False, True])
def test_every_parameter_has_a_gradient(empty: bool) -> None:
    net, (x, valid) = encoder(), inputs()
    net(x, torch.zeros_like(valid) if empty else valid).square().sum().backward()
    assert all(param.grad is not None and param.grad.isfinite().all() for param in net.parameters())
