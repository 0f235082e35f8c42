"""Deformable attention with points by level, against transformers' and mmcv's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')

from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from kd_plugins.errors import ConfigError
from kd_plugins.models.dfine.native.deformable_attention import (
    PointsDeformableAttention,
    kernel_arguments,
    level_values,
    sample,
)
from tests.models.dfine.native.attention_inputs import POSITIONS, SHAPES, inputs

POINTS = (2, 3, 1)


def attention(**options: Any) -> PointsDeformableAttention:
    torch.manual_seed(1)
    made = PointsDeformableAttention(**{**dict(embed_dims=16, num_heads=4, num_points=POINTS), **options}).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def test_equals_transformers() -> None:
    transformers = pytest.importorskip('transformers')
    from transformers.models.d_fine.modeling_d_fine import DFineMultiscaleDeformableAttention

    config = transformers.DFineConfig(
        d_model=16, decoder_attention_heads=4, num_feature_levels=3, decoder_n_points=list(POINTS)
    )
    ours, theirs = attention(), DFineMultiscaleDeformableAttention(config).double()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    query, boxes, memory = inputs()
    sizes = dict(spatial_shapes=torch.tensor(SHAPES), spatial_shapes_list=SHAPES)
    expected = theirs(query, reference_points=boxes[:, :, None], encoder_hidden_states=memory, **sizes)[0]
    actual = ours(query, boxes[:, :, None], level_values(memory, SHAPES, 4))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_equal_points_are_the_plain_attention() -> None:
    """With as many points on every level, the sum is that of mmcv."""
    generator = torch.Generator().manual_seed(2)
    memory = inputs()[2]
    locations = 1.4 * torch.rand(2, 5, 4, 6, 2, generator=generator, dtype=torch.float64) - 0.2
    weights = torch.rand(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    expected = multi_scale_deformable_attn_pytorch(
        memory.unflatten(-1, (4, 4)), torch.tensor(SHAPES), locations.unflatten(3, (3, 2)), weights.unflatten(3, (3, 2))
    )
    torch.testing.assert_close(sample(level_values(memory, SHAPES, 4), locations, weights, (2, 2, 2)), expected)


@pytest.mark.parametrize('half', [None, torch.float16, torch.bfloat16])
def test_arguments_of_the_kernel(half: torch.dtype | None) -> None:
    """They are contiguous and in one dtype, as the kernel demands; mmcv's function for CPUs takes the same ones."""
    generator = torch.Generator().manual_seed(2)
    memory, points = inputs()[2].float(), (3, 1, 2)
    locations, weights = (torch.rand(2, 5, 4, 6, *more, generator=generator) for more in ((2,), ()))
    expected = sample(level_values(memory, SHAPES, 4), locations, weights, points)
    memory, weights = (part if half is None else part.to(half) for part in (memory, weights))
    heads = memory.unflatten(-1, (4, -1)).split([height * width for height, width in SHAPES], dim=1)
    total = torch.zeros(())
    for level in zip(heads, SHAPES, locations.split(points, 3), weights.split(points, 3)):
        values, shapes, start, places, shares, step = kernel_arguments(*level)
        tensors = values, shapes, start, places, shares
        assert all(part.is_contiguous() for part in tensors) and len(values) % step == 0
        assert {values.dtype, places.dtype, shares.dtype} == {torch.float32} and torch.equal(
            places.squeeze(3), level[2]
        )
        total = total + multi_scale_deformable_attn_pytorch(values, shapes, places, shares)
    close = dict(rtol=1e-5, atol=1e-6) if half is None else dict(rtol=0.02, atol=0.02)
    torch.testing.assert_close(total, expected, **close)
    lowest = kernel_arguments(heads[0], SHAPES[0], locations[..., :3, :].bfloat16(), weights[..., :3])
    assert lowest[3].dtype == torch.float32, 'the kernel has no bfloat16'


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_kernel_equals_grid_sample(dtype: torch.dtype) -> None:
    query, boxes, memory = (part.float() for part in inputs(dtype=torch.float64))
    outputs = []
    for device in ('cpu', 'cuda'):
        made = attention().to(device, dtype)
        parts = [part.detach().to(device, dtype).requires_grad_() for part in (query, boxes, memory)]
        actual = made(parts[0], parts[1][:, :, None], level_values(parts[2], SHAPES, 4))
        gradients = torch.autograd.grad(actual.square().sum(), [*parts, *made.parameters()])
        outputs.append([part.cpu() for part in (actual, *gradients)])
    for actual, expected in zip(*outputs):
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


def test_boxes_of_each_level_and_padding() -> None:
    """The same box on all levels counts as one; padded positions add nothing."""
    made = attention()
    query, boxes, memory = inputs()
    values = level_values(memory, SHAPES, 4)
    once = made(query, boxes[:, :, None], values)
    torch.testing.assert_close(made(query, boxes[:, :, None].expand(-1, -1, 3, -1), values), once)
    mask = torch.rand(2, POSITIONS) < 0.4
    spoiled = memory.masked_fill(mask[..., None], 7.0)
    hidden = made(query, boxes[:, :, None], level_values(spoiled, SHAPES, 4, mask))
    zeros = made(query, boxes[:, :, None], level_values(memory.masked_fill(mask[..., None], 0.0), SHAPES, 4))
    torch.testing.assert_close(hidden, zeros)
    assert not torch.allclose(hidden, once)


def test_starts_with_points_in_the_direction_of_each_head() -> None:
    made = PointsDeformableAttention(embed_dims=16, num_heads=4, num_points=(2, 1))
    offsets = made.sampling_offsets.bias.view(4, 3, 2)
    torch.testing.assert_close(offsets[0], torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(offsets[3], torch.tensor([[0.0, -1.0], [0.0, -2.0], [0.0, -1.0]]), atol=1e-6, rtol=0)
    assert not made.sampling_offsets.weight.any() and not made.attention_weights.weight.any()
    assert not [key for key in made.state_dict() if 'scale' in key]


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'num_heads': 3}, r'cross_attn_cfg\.num_heads is 3, which does not divide embed_dims=16; nearest: 2'),
        ({'num_points': 4}, r'cross_attn_cfg\.num_points is 4; give a positive integer for each level'),
        ({'num_points': (3, 0)}, r'cross_attn_cfg\.num_points is \(3, 0\)'),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        attention(**changes)
