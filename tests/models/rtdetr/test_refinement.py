"""Look forward twice, against the released decoder's lines written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')

from kd_plugins.models.dfine.refinement import inverse_sigmoid
from kd_plugins.models.rtdetr import LookForwardTwice

LAYERS, DIMS = 3, 6


def test_boxes_and_gradients_are_those_of_the_release() -> None:
    """The gradient of a layer's box reaches its branch and that of the layer before, and no other."""
    torch.manual_seed(0)
    branches = nn.ModuleList(nn.Linear(DIMS, 4) for _ in range(LAYERS + 1)).double()
    hidden, start = torch.randn(LAYERS, 2, 5, DIMS).double(), torch.rand(2, 5, 4).double()
    refiner, reference = LookForwardTwice(branches), start
    for layer in range(LAYERS):
        reference = refiner(hidden[layer], reference)
        assert not reference.requires_grad
    boxes = refiner.result()

    expected, detached, attached = [], start, None
    for layer in range(LAYERS):
        moved = (branches[layer](hidden[layer]) + inverse_sigmoid(detached)).sigmoid()
        shift = branches[layer](hidden[layer])
        expected.append(moved if attached is None else (shift + inverse_sigmoid(attached)).sigmoid())
        attached, detached = moved, moved.detach()
    torch.testing.assert_close(boxes, torch.stack(expected))
    torch.testing.assert_close(reference, detached)
    for layer in range(LAYERS):
        gradients = []
        for box in (boxes, expected):
            branches.zero_grad()
            box[layer].square().sum().backward(retain_graph=True)
            zero = [torch.zeros_like(parameter) for parameter in branches.parameters()]
            gradients.append(
                [zero[i] if p.grad is None else p.grad.clone() for i, p in enumerate(branches.parameters())]
            )
        reached = {index // 2 for index, gradient in enumerate(gradients[0]) if gradient.any()}
        assert reached == {max(layer - 1, 0), layer}
        for actual, other in zip(*gradients):
            torch.testing.assert_close(actual, other)
