"""Taps of feature maps, found on networks whose maps come from layers, from lists of layers, or from no layer."""

import pytest
import torch
from torch import nn

from kd_plugins.suggestions.tracing import CallTrace


class Pyramid(nn.Module):
    """Two maps from layers and one from pooling, as MMDetection's FPN gives them."""

    def __init__(self):
        super().__init__()
        self.lateral = nn.Conv2d(3, 4, 1)
        self.fpn_convs = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True)) for _ in range(2))

    def forward(self, x):
        x = self.lateral(x)
        maps = [conv(x) for conv in self.fpn_convs]
        return (*maps, maps[-1][..., ::2, ::2])


def tap_of(**parts):
    model = nn.ModuleDict(parts)
    trace = CallTrace(model)
    with trace.recording():
        x = torch.zeros(1, 3, 4, 4)
        for part in parts.values():
            x = part(x)
    assert not any(module._forward_hooks for module in model.modules())
    return trace.feature_tap()


def test_one_level_of_the_maps():
    model = nn.ModuleDict(dict(backbone=nn.Conv2d(3, 3, 1), neck=Pyramid()))
    trace = CallTrace(model)
    with trace.recording():
        model['neck'](torch.zeros(1, 3, 4, 6))
    # The map of two rows comes from pooling, which is no layer.
    assert [trace.level_tap(rows) for rows in (4, 2, 0)] == ['neck.fpn_convs.0', None, None]
    assert CallTrace(model).level_tap(4) is None


def test_layers_of_a_list_are_one_tap():
    assert tap_of(neck=Pyramid()) == 'neck.fpn_convs.*'


def test_the_neck_comes_before_the_backbone():
    assert tap_of(backbone=nn.Conv2d(3, 3, 1), neck=Pyramid()) == 'neck.fpn_convs.*'


def test_a_single_layer_is_named():
    assert tap_of(backbone=nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))) == 'backbone.1'


def test_the_part_itself_where_no_layer_gives_the_maps():
    class Doubling(nn.Module):
        def forward(self, x):
            return 2 * x

    assert tap_of(backbone=Doubling()) == 'backbone'


def test_a_network_without_these_parts():
    assert tap_of(encoder=nn.Conv2d(3, 4, 1)) is None


@pytest.mark.parametrize(
    ('path', 'tap'),
    [
        ('mmdet::gfl/gfl_r50_fpn_1x_coco.py', 'neck.fpn_convs.*'),
        ('mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', 'neck.out_convs.*'),
        ('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', 'neck.convs.*'),
    ],
)
def test_necks_of_mmdetection(path, tap):
    pytest.importorskip('mmdet')
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    from kd_plugins.config.reading import read_config

    model = Config(read_config(path)._cfg_dict).model
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        neck = MODELS.build(model.neck)
    network = nn.ModuleDict({'neck': neck})
    trace = CallTrace(network)
    channels = model.neck.in_channels
    maps = [torch.zeros(1, size, 64 >> level, 64 >> level) for level, size in enumerate(channels)]
    with torch.no_grad(), trace.recording():
        neck.eval()(maps)
    assert trace.feature_tap() == tap
