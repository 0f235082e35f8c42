"""The native decoder: gate, query positions, layers of training and of evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip('mmdet')

from kd_plugins.errors import ConfigError
from kd_plugins.models.dfine import BoxRefiner, FDRBranches, Refinement
from kd_plugins.models.dfine.native.decoder import BoxPosition, DFINEDecoder, Gateway
from kd_plugins.models.dfine.refinement import perceptron
from tests.models.dfine.native.layers import DIMS, LAYERS, SHAPES, layer_config


def decoder(**options: Any) -> DFINEDecoder:
    torch.manual_seed(0)
    made = DFINEDecoder(num_layers=LAYERS, layer_cfg=layer_config(), **options)
    made.init_weights()
    return made


def run(made: DFINEDecoder, clamp: bool = False, **options: Any) -> tuple[Tensor, Refinement, list[Tensor]]:
    """Return hidden states, refinement, and the boxes around which each layer attends."""
    torch.manual_seed(1)
    branches = FDRBranches(LAYERS, DIMS, 8, reg_scale=4.0, up=2.0)
    for branch in branches.distributions:
        branch[-1].bias.data.mul_(30.0)
    refiner = BoxRefiner(branches, perceptron([DIMS, DIMS, 4]), clamp)
    seen: list[Tensor] = []
    handles = [
        layer.cross_attn.register_forward_pre_hook(lambda module, args: seen.append(args[1])) for layer in made.layers
    ]
    inputs = dict(query=torch.randn(2, 5, DIMS), value=torch.randn(2, 30, DIMS), reference_points=torch.rand(2, 5, 4))
    states, refinement = made(**inputs, shapes=SHAPES, refiner=refiner, **options)
    for handle in handles:
        handle.remove()
    return states, refinement, seen


def test_the_gate_starts_half_open() -> None:
    gate = Gateway(DIMS, dict(type='LN'))
    first, second = torch.randn(2, 3, DIMS)
    expected = nn.functional.layer_norm(0.5 * (first + second), (DIMS,))
    torch.testing.assert_close(gate(first, second), expected)
    with torch.no_grad():
        gate.gate.bias[:DIMS], gate.gate.bias[DIMS:] = 20.0, -20.0
    torch.testing.assert_close(gate(first, second), nn.functional.layer_norm(first, (DIMS,)), atol=1e-6, rtol=0)


def test_positions_are_bounded_and_take_the_activation() -> None:
    boxes = torch.rand(2, 5, 4)
    made = BoxPosition(DIMS, dict(type='SiLU'))
    expected = made.layers[1](nn.functional.silu(made.layers[0](boxes)))
    torch.testing.assert_close(made(boxes), expected)
    assert made(1e6 * boxes).abs().max() == 10.0


def test_references_are_the_boxes_before_as_they_are() -> None:
    """Like in the release, a box may lie outside of the image or have a negative side."""
    _, refinement, seen = run(decoder())
    for layer in range(1, LAYERS):
        torch.testing.assert_close(seen[layer][:, :, 0], refinement.boxes[layer - 1])
        assert not seen[layer].requires_grad
    clamped = run(decoder(), clamp=True)[2]
    assert not torch.allclose(clamped[1][:, :, 0], refinement.boxes[0])


def test_evaluation_stops_at_its_layer() -> None:
    made = decoder(eval_idx=1)
    whole = run(made.train())[:2]
    short = run(made.eval())[:2]
    assert len(whole[0]) == LAYERS and len(short[0]) == len(short[1].boxes) == 2
    torch.testing.assert_close(short[0], whole[0][:2])
    assert decoder(eval_idx=-1).eval_idx == LAYERS - 1


def test_padding_is_the_attention_on_a_part_of_the_map() -> None:
    """A box relative to the image, on a map of which the image fills the left half."""
    ratios = torch.tensor([[[0.5, 1.0], [0.5, 1.0]]]).expand(2, -1, -1)
    seen = run(decoder(), valid_ratios=ratios, key_padding_mask=torch.zeros(2, 30, dtype=torch.bool))[2]
    whole = run(decoder())[2]
    torch.testing.assert_close(seen[0][:, :, 1], whole[0][:, :, 0] * torch.tensor([0.5, 1.0, 0.5, 1.0]))


def test_denoising_queries_do_not_reach_the_others() -> None:
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[2:, :2] = True
    made = decoder()
    states = run(made, self_attn_mask=mask)[0]
    handle = made.layers[0].register_forward_pre_hook(
        lambda module, args: (torch.cat([args[0][:, :2] + 1.0, args[0][:, 2:]], 1), *args[1:])
    )
    moved = run(made, self_attn_mask=mask)[0]
    handle.remove()
    torch.testing.assert_close(moved[0][:, 2:], states[0][:, 2:])
    assert not torch.allclose(moved[0][:, :2], states[0][:, :2])


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'model\.decoder\.eval_idx is 3 with num_layers=3; nearest: 2'):
        decoder(eval_idx=3)
