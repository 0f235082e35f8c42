"""BatchNorm layers folded into convolutions: which ones, with which outputs, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations, spectral_norm

from kd_plugins.config.reading import read_config
from kd_plugins.taps import TapSet
from kd_plugins.teachers import BaseTeacher
from kd_plugins.teachers.folding import BatchNormFolding
from kd_plugins.testing import strip_pretrained

IMAGES = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1))
Call = Callable[[Any, Tensor], Tensor]


class Network(nn.Module):
    """A convolution, BatchNorm layers and a function that calls them."""

    def __init__(self, call: Call, conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.call = call
        self.conv = conv
        self.norm = norm
        self.other = nn.BatchNorm2d(4)
        self.last = nn.Identity()

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Tensor:
        return self.last(self.call(self, inputs))


class AllMaps(nn.Module):
    """A backbone whose every map can be tapped."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.maps = nn.ModuleList(nn.Identity() for _ in range(5))

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> list[Tensor]:
        return [keep(value) for keep, value in zip(self.maps, self.backbone(inputs))]


def simple(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)).relu_()


def norms_of(model: nn.Module) -> dict[str, _BatchNorm]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}


def train(model: nn.Module) -> None:
    """Give every BatchNorm layer statistics and weights that change its input."""
    generator = torch.Generator().manual_seed(0)
    ranges = {'running_mean': (-1.0, 1.0), 'running_var': (0.5, 2.0), 'weight': (0.5, 1.5), 'bias': (-0.5, 0.5)}
    for layer in norms_of(model).values():
        for name, (low, high) in ranges.items():
            tensor = getattr(layer, name)
            if tensor is not None:
                tensor.data.uniform_(low, high, generator=generator)


class Comparison:
    """Outputs of the taps of a teacher without and with folding, and the names of the folded layers."""

    def __init__(self, model: nn.Module, inputs: Tensor, *paths: str, mode: str = 'tensor') -> None:
        train(model)
        self.teacher = BaseTeacher(mode=mode)
        self.teacher._adopt(model)
        self.taps = TapSet(model, {f'key{index}': path for index, path in enumerate(paths)})
        self.norms = list(norms_of(model))
        self.expected = self.outputs(inputs)
        self.teacher.folding = BatchNormFolding(model)
        self.actual = self.outputs(inputs)
        self.folded = [norm for _, norm in self.teacher.folding.state()['pairs']]

    def outputs(self, inputs: Tensor) -> list[Tensor]:
        self.teacher.run((inputs, None), {}, self.taps)
        return [tensor.clone() for tensor in self.taps.recorded()]

    def check(self) -> None:
        """Compare with the accuracy of float32."""
        assert self.expected and len(self.actual) == len(self.expected)
        for actual, expected in zip(self.actual, self.expected):
            assert (actual - expected).norm() <= 1e-5 * expected.norm()


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], tuple[int, ...]]] = {
    'bias': (lambda: nn.Conv2d(4, 6, 3), lambda: nn.BatchNorm2d(6), (9, 9)),
    'no-affine': (lambda: nn.Conv2d(4, 6, 3), lambda: nn.BatchNorm2d(6, affine=False), (9, 9)),
    'circular': (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode='circular'), lambda: nn.BatchNorm2d(6), (9, 9)),
    'groups': (lambda: nn.Conv2d(4, 8, 3, stride=2, groups=4, bias=False), lambda: nn.BatchNorm2d(8), (9, 9)),
    'transposed': (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), lambda: nn.BatchNorm2d(6), (9, 9)),
    'synchronized': (lambda: nn.Conv2d(4, 6, 3), lambda: nn.SyncBatchNorm(6), (9, 9)),
    'rows': (lambda: nn.Conv1d(4, 6, 3), lambda: nn.BatchNorm1d(6), (9,)),
    'volumes': (lambda: nn.Conv3d(4, 6, 3), lambda: nn.BatchNorm3d(6), (5, 5, 5)),
}


@pytest.mark.parametrize('name', LAYERS)
def test_kinds_of_layers(name: str) -> None:
    conv, norm, size = LAYERS[name]
    comparison = Comparison(Network(simple, conv(), norm()), torch.randn(2, 4, *size), 'last')
    comparison.check()
    assert comparison.folded == ['norm'] and isinstance(comparison.teacher.model.norm, nn.Identity)
    assert not any(param.requires_grad for param in comparison.teacher.model.parameters())


@pytest.mark.parametrize('act', [nn.ReLU6, nn.SiLU])
def test_a_norm_of_timm_with_an_activation_inside(act: type[nn.Module]) -> None:
    layers = pytest.importorskip('timm.layers')

    def plain(net: Any, x: Tensor) -> Tensor:
        return net.norm(net.conv(x))

    norm = layers.BatchNormAct2d(6, act_layer=act)
    comparison = Comparison(Network(plain, nn.Conv2d(4, 6, 3, bias=False), norm), IMAGES, 'last')
    comparison.check()
    assert comparison.folded == ['norm'] and isinstance(comparison.teacher.model.norm[1], act)
    assert float(comparison.actual[0].min()) == pytest.approx(float(act()(torch.linspace(-9, 9, 9000)).min()), abs=0.1)


def test_a_backbone_of_timm() -> None:
    pytest.importorskip('timm')
    torch.manual_seed(0)
    backbone = MODELS.build({'type': 'kd_plugins.TimmBackbone', 'model': 'tf_efficientnet_lite0'})
    comparison = Comparison(AllMaps(backbone), torch.randn(1, 3, 64, 96), *(f'maps.{index}' for index in range(5)))
    comparison.check()
    assert comparison.folded == comparison.norms and len(comparison.norms) == 48


def test_a_convolution_that_runs_at_several_levels() -> None:
    def levels(net: Any, x: Tensor) -> Tensor:
        return simple(net, x).mean() + simple(net, x[..., :5]).mean()

    comparison = Comparison(Network(levels, nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), IMAGES, 'last')
    comparison.check()
    assert comparison.folded == ['norm']


def two_readers(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    return net.norm(y) + y


def changed_in_place(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    y += 1
    return net.norm(y)


def two_convolutions(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.norm(x)


def shared_convolution(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.other(net.conv(x))


def convolution_alone(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.conv(x)


def reader_of_weights(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) * net.norm.weight.mean()


CALLS = [two_readers, changed_in_place, two_convolutions, shared_convolution, convolution_alone, reader_of_weights]


@pytest.mark.parametrize('call', CALLS, ids=lambda call: call.__name__)
def test_layers_with_another_reader_are_left_alone(call: Call) -> None:
    comparison = Comparison(Network(call, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), IMAGES, 'last')
    comparison.check()
    assert comparison.folded == [] and isinstance(comparison.teacher.model.norm, nn.BatchNorm2d)


class StandardizedConv(nn.Conv2d):
    """A convolution with weights of its own making, as MMCV's ConvWS2d."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize(
    ('conv', 'norm'),
    [
        (lambda: nn.Conv2d(4, 4, 1), lambda: nn.BatchNorm2d(4, track_running_stats=False)),
        (lambda: spectral_norm(nn.Conv2d(4, 4, 1)), lambda: nn.BatchNorm2d(4)),
        (lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), lambda: nn.BatchNorm2d(4)),
        (lambda: nn.ConvTranspose2d(4, 4, 1, groups=2), lambda: nn.BatchNorm2d(4)),
        (lambda: StandardizedConv(4, 4, 1), lambda: nn.BatchNorm2d(4)),
    ],
    ids=['batch-statistics', 'spectral-norm', 'weight-norm', 'transposed-groups', 'subclass'],
)
def test_layers_that_compute_something_else(conv: Any, norm: Any) -> None:
    comparison = Comparison(Network(simple, conv(), norm()), IMAGES, 'last')
    comparison.check()
    assert comparison.folded == []


@pytest.mark.parametrize('path', ['conv', 'norm'])
def test_a_layer_with_a_tap_stays(path: str) -> None:
    def without_change(net: Any, x: Tensor) -> Tensor:
        return net.norm(net.conv(x))

    comparison = Comparison(Network(without_change, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), IMAGES, path, 'last')
    comparison.check()
    assert comparison.folded == []


def test_weights_shared_with_another_layer_stay_there() -> None:
    conv, other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    other.weight = conv.weight
    model = Network(lambda net, x: simple(net, x) + net.second(x), conv, nn.BatchNorm2d(4))
    model.second = other
    comparison = Comparison(model, IMAGES, 'last')
    comparison.check()
    assert comparison.folded == ['norm'] and other.weight is not conv.weight


def test_shared_modules_are_not_changed() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    train(model)
    taps = TapSet(model.eval(), {'key': '0'})
    folding = BatchNormFolding(model, shared=[model[0]])

    def forward() -> None:
        with taps.forward_pass(ends_early=False), torch.no_grad():
            model(IMAGES)

    folding.apply(forward, taps)
    assert folding.state() == {'pairs': [['1', '2']], 'channels_last': False} and isinstance(
        model[0][1], nn.BatchNorm2d
    )


def test_a_resumed_run_folds_the_layers_of_its_checkpoint() -> None:
    first = Comparison(Network(simple, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), IMAGES, 'last')
    for names, folded in (([['conv', 'norm']], True), ([], False), ([['gone', 'norm']], False)):
        model = Network(simple, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        train(model)
        folding, taps = BatchNormFolding(model.eval()), TapSet(model, {'key': 'last'})
        folding.load_state({'pairs': names, 'channels_last': False})
        folding.apply(lambda: pytest.fail('the layers are known, so no pass is needed'), taps)
        assert isinstance(model.norm, nn.Identity) == folded
    assert first.teacher.folding.state() == {'pairs': [['conv', 'norm']], 'channels_last': True}


def test_outputs_on_a_cpu_are_contiguous() -> None:
    """Convolutions compute with channels last, which a loss does not notice."""
    comparison = Comparison(Network(simple, nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), IMAGES, 'last')
    comparison.check()
    assert comparison.teacher.model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert comparison.taps.recorded()[0].is_contiguous(memory_format=torch.channels_last)
    (output,) = comparison.taps.read('last')
    assert output.is_contiguous() and torch.equal(output, comparison.actual[0])


def test_a_network_that_needs_contiguous_tensors() -> None:
    def viewing(net: Any, x: Tensor) -> Tensor:
        return simple(net, x).view(len(x), -1)

    comparison = Comparison(Network(viewing, nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)), IMAGES, 'last')
    comparison.check()
    assert comparison.teacher.folding.state() == {'pairs': [['conv', 'norm']], 'channels_last': False}
    assert comparison.teacher.model.conv.weight.is_contiguous()


def test_a_network_without_batch_norm() -> None:
    comparison = Comparison(Network(simple, nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4)), IMAGES, 'last')
    comparison.check()
    assert comparison.teacher.folding.state() == {'pairs': [], 'channels_last': True}


def test_half_precision_of_the_student() -> None:
    model = Network(simple, nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        comparison = Comparison(model, IMAGES, 'last')
    assert comparison.folded == ['norm'] and comparison.actual[0].dtype == torch.bfloat16
    assert (comparison.actual[0] - comparison.expected[0]).norm() <= 0.02 * comparison.expected[0].norm()


NARROW = {'model.backbone.depth': 18, 'model.backbone.base_channels': 8}
WIDTHS = [8, 16, 32, 64]
NETWORKS: dict[str, tuple[str, dict[str, Any], list[str], tuple[int, int], set[str]]] = {
    'gfl': (
        'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
        {**NARROW, 'model.neck.in_channels': WIDTHS},
        ['bbox_head.scales.*', 'bbox_head.gfl_cls', 'backbone.layer2'],
        (64, 64),
        set(),
    ),
    'rtmdet': (
        'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
        {},
        ['bbox_head.rtm_cls.*', 'neck'],
        (64, 64),
        # The levels share their convolutions and have BatchNorm layers of their own.
        {f'bbox_head.{kind}_convs.{level}.{i}.bn' for kind in ('cls', 'reg') for level in range(3) for i in range(2)},
    ),
    'yolox': ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', {}, ['bbox_head.multi_level_conv_cls.*'], (64, 64), set()),
    'heatmaps': (
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
        {**NARROW, 'model.head.in_channels': 64, 'model.head.deconv_out_channels': (8, 8, 8)},
        ['head.final_layer'],
        (64, 64),
        set(),
    ),
    'rtmpose': (
        'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py',
        {},
        ['head.cls_x', 'head.cls_y'],
        (256, 192),
        set(),
    ),
    'unet': (
        'mmseg::unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py',
        {},
        ['decode_head.conv_seg'],
        (64, 64),
        {'auxiliary_head.convs.0.bn'},
    ),
}
"""Config, options, taps, image size, and the BatchNorm layers that cannot be folded or do not run."""


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_networks_of_openmmlab(name: str) -> None:
    path, options, taps, size, kept = NETWORKS[name]
    package = path.split('::')[0]
    pytest.importorskip(package)
    config = read_config(path, key='teacher.config')
    config.merge_from_dict(options)
    for _ in strip_pretrained(config.model):
        pass
    init_default_scope(package)
    torch.manual_seed(0)
    comparison = Comparison(MODELS.build(config.model), torch.randn(1, 3, *size), *taps)
    comparison.check()
    assert set(comparison.norms) - set(comparison.folded) == kept and len(comparison.folded) > 10
