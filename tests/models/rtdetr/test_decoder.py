"""RT-DETR's decoder: a layer written out, positions without a limit, and the layer that predicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')

from kd_plugins.models.rtdetr import LookForwardTwice, RTDETRDecoder
from kd_plugins.models.rtdetr.attention import Memory
from tests.models.dfine.native.layers import DIMS, LAYERS, SHAPES, layer_config


def decoder(**options: Any) -> RTDETRDecoder:
    torch.manual_seed(0)
    made = RTDETRDecoder(num_layers=LAYERS, layer_cfg=layer_config(), **options)
    made.init_weights()
    return made


def test_a_layer_has_a_norm_after_each_part() -> None:
    layer = decoder().layers[0].eval()
    query, position, boxes = torch.randn(2, 5, DIMS), torch.randn(2, 5, DIMS), torch.rand(2, 5, 1, 4)
    memory = Memory(torch.randn(2, 30, DIMS), SHAPES)
    mask = torch.rand(5, 5) < 0.3
    mask.fill_diagonal_(False)
    actual = layer(query, position, boxes, memory, mask)
    attended, _ = layer.self_attn.attn(
        *((query + position).transpose(0, 1),) * 2, query.transpose(0, 1), attn_mask=mask
    )
    x = layer.norms[0](query + attended.transpose(0, 1))
    x = layer.norms[1](x + layer.cross_attn(x + position, boxes, memory))
    linears = [module for module in layer.ffn.modules() if isinstance(module, nn.Linear)]
    expected = layer.norms[2](x + linears[1](linears[0](x).relu()))
    torch.testing.assert_close(actual, expected)


def test_positions_have_no_limit() -> None:
    made = decoder()
    with torch.no_grad():
        made.ref_point_head.layers[1].bias.fill_(99.0)
    assert made.ref_point_head(torch.zeros(1, 1, 4)).amin() > 50


@pytest.mark.parametrize(('eval_idx', 'run'), [(-1, 3), (1, 2)])
def test_layers_after_the_predicting_one_only_train(eval_idx: int, run: int) -> None:
    made = decoder(eval_idx=eval_idx)
    branches = nn.ModuleList(nn.Linear(DIMS, 4) for _ in range(LAYERS))
    inputs: dict[str, Any] = dict(
        query=torch.randn(2, 5, DIMS), value=torch.randn(2, 30, DIMS), reference_points=torch.rand(2, 5, 4)
    )
    for training, count in ((True, LAYERS), (False, run)):
        made.train(training)
        states, boxes = made(**inputs, shapes=SHAPES, refiner=LookForwardTwice(branches))
        assert states.shape == (count, 2, 5, DIMS) and boxes.shape == (count, 2, 5, 4)
