"""RT-DETR's deformable attention, against mmcv's module and transformers' RT-DETRv2."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip('mmdet')

from mmcv.ops import MultiScaleDeformableAttention

from kd_plugins.errors import ConfigError
from kd_plugins.models.rtdetr.attention import Memory, ProjectedDeformableAttention, sample_cells
from tests.models.dfine.native.attention_inputs import POSITIONS, SHAPES, inputs

DIMS, HEADS = 16, 4


def attention(num_points: tuple[int, ...] = (2, 2, 2), **options: Any) -> ProjectedDeformableAttention:
    torch.manual_seed(1)
    made = ProjectedDeformableAttention(DIMS, HEADS, num_points, **options).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def test_equal_points_are_those_of_mmcv() -> None:
    """The same parameters under the same names, padding included; mmcv adds the query to the result."""
    ours = attention()
    theirs = MultiScaleDeformableAttention(DIMS, HEADS, 3, 2, dropout=0.0, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    query, boxes, memory = inputs()
    mask = torch.rand(2, POSITIONS, generator=torch.Generator().manual_seed(3)) < 0.3
    shapes = torch.tensor(SHAPES)
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(dim=1).cumsum(0)[:-1]])
    levels = boxes[:, :, None].expand(-1, -1, 3, -1)
    arguments: dict[str, Any] = dict(reference_points=levels, spatial_shapes=shapes, level_start_index=starts)
    expected = theirs(query, value=memory, key_padding_mask=mask, **arguments) - query
    actual = ours(query, boxes[:, :, None], Memory(memory, SHAPES, mask))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def transformers_attention(ours: ProjectedDeformableAttention, points: int) -> Any:
    transformers = pytest.importorskip('transformers')
    from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2MultiscaleDeformableAttention

    config = transformers.RTDetrV2Config(
        d_model=DIMS, decoder_attention_heads=HEADS, decoder_n_points=points, decoder_method=ours.method
    )
    theirs = RTDetrV2MultiscaleDeformableAttention(config).double()
    # The factor of an offset, a buffer there, is rounded to float32.
    theirs.n_points_scale = torch.full((3 * points,), 1 / points, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    return theirs


@pytest.mark.parametrize('method', ['default', 'discrete'])
def test_equals_transformers(method: str) -> None:
    """Also on maps that are not square, and with boxes that reach out of the image."""
    ours = attention(method=method)
    theirs = transformers_attention(ours, 2)
    query, boxes, memory = inputs()
    sizes = dict(spatial_shapes=torch.tensor(SHAPES), spatial_shapes_list=SHAPES)
    expected = theirs(query, reference_points=boxes[:, :, None], encoder_hidden_states=memory, **sizes)[0]
    actual = ours(query, boxes[:, :, None], Memory(memory, SHAPES))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_discrete_sampling_takes_cells() -> None:
    """Column [x w + 0.5] and row [y h + 0.5], inside the map; two levels of 2 x 3 and 1 x 1 cells."""
    values = torch.arange(7.0).view(1, 7, 1, 1)
    points = torch.tensor([[0.0, 0.0], [0.34, 0.5], [0.99, 0.99], [-3.0, 0.2], [0.5, 0.5]])
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0])
    shapes = [(2, 3), (1, 1)]
    total = sample_cells(values, shapes, points.view(1, 1, 1, 5, 2), weights.view(1, 1, 1, 5), (4, 1))
    cells = torch.tensor([0.0, 4.0, 5.0, 0.0, 6.0])
    assert total.item() == (cells * weights).sum()


@pytest.mark.parametrize('method', ['default', 'discrete'])
def test_what_trains_gets_a_gradient_and_padding_adds_nothing(method: str) -> None:
    made = attention((2, 3, 1), method=method)
    query, boxes, memory = inputs()
    mask = torch.rand(2, POSITIONS, generator=torch.Generator().manual_seed(2)) < 0.4
    spoiled = memory.masked_fill(mask[..., None], 7.0).requires_grad_()
    output = made(query, boxes[:, :, None], Memory(spoiled, SHAPES, mask))
    output.square().sum().backward()
    assert spoiled.grad is not None and not spoiled.grad[mask].any()
    for name, parameter in made.named_parameters():
        frozen = method == 'discrete' and name.startswith('sampling_offsets')
        assert parameter.requires_grad is not frozen
        assert (parameter.grad is None) is frozen
    with torch.no_grad():
        other = made(query, boxes[:, :, None], Memory(memory.masked_fill(mask[..., None], -2.0), SHAPES, mask))
    torch.testing.assert_close(other, output)


def test_starts_as_the_release() -> None:
    made = ProjectedDeformableAttention(DIMS, HEADS, (2, 1, 1))
    assert not made.sampling_offsets.weight.any() and made.sampling_offsets.bias.any()
    for linear in (made.value_proj, made.output_proj):
        assert not linear.bias.any()
        bound = (6 / (2 * DIMS)) ** 0.5
        assert 0.8 * bound < linear.weight.abs().max() <= bound
    before: Tensor = made.value_proj.weight.clone()
    made.init_weights()
    assert not torch.equal(made.value_proj.weight, before)


def test_unknown_method() -> None:
    with pytest.raises(ConfigError, match=r"cross_attn_cfg\.method is 'discret'.*nearest: 'discrete'"):
        ProjectedDeformableAttention(DIMS, HEADS, (2, 1, 1), method='discret')
