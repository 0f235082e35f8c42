"""TimmBackbone: the values of timm, weights, freezing, modes, errors."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import kd_plugins  # noqa: F401 (lets timm be imported without torchvision)
from kd_plugins.errors import CheckpointError, ConfigError, MissingDependencyError
from kd_plugins.models.backbones.timm_backbone import whole_model_names
from kd_plugins.utils.memory_format import set_channels_last
from tests.models.backbones.small_backbones import SMALL, build, images

timm = pytest.importorskip('timm')


def norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@pytest.fixture(scope='module')
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a whole model under timm's names."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('weights') / 'small.pth'
    torch.save(timm.create_model(SMALL).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ('model', 'size', 'settings', 'shapes'),
    [
        ('test_efficientnet', (64, 96), {}, [(2, 32, 48), (4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)]),
        ('resnet18', (64, 96), {'out_indices': (1, 4)}, [(4, 16, 24), (32, 2, 3)]),
        ('test_convnext', (64, 96), {}, None),
        ('test_vit', (160, 160), {'out_indices': (1, 3)}, [(16, 10, 10), (16, 10, 10)]),
        ('test_vit', (64, 96), {'options': {'dynamic_img_size': True}}, None),
        # Its maps have their channels at the end inside timm.
        ('swin_tiny_patch4_window7_224', (64, 96), {'out_indices': (0, 1), 'options': {'img_size': (64, 96)}}, None),
    ],
)
def test_kinds_of_models(
    model: str, size: tuple[int, int], settings: dict[str, Any], shapes: Any, tmp_path: Path
) -> None:
    backbone = build(model, **settings).eval()
    with torch.no_grad():
        maps = backbone(images(*size, batch=1))
    assert isinstance(maps, tuple)
    expected = [
        (channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(backbone.out_channels, backbone.strides)
    ]
    assert [tuple(value.shape[1:]) for value in maps] == expected
    if shapes is not None:
        assert [(stride, *shape[1:]) for stride, shape in zip(backbone.strides, expected)] == shapes
    # Weights of the whole model, under its own names.
    torch.manual_seed(5)
    whole = timm.create_model(model, **settings.get('options', {}))
    torch.save(whole.state_dict(), tmp_path / 'whole.pth')
    backbone.load_weights(tmp_path / 'whole.pth')
    wholes = whole.state_dict()
    changed = [name for name, value in backbone.network.state_dict().items() if value.dim() > 1]
    values = {(tuple(value.shape), float(value.double().sum())) for value in wholes.values()}
    assert changed
    for name in changed:
        value = backbone.network.state_dict()[name]
        assert (tuple(value.shape), float(value.double().sum())) in values, name


def test_init_weights_loads_the_file_last_and_once(file: Path) -> None:
    constant = {'type': 'Constant', 'layer': 'Conv2d', 'val': 0.5}
    backbone = build(weights=str(file), init_cfg=constant)
    assert not torch.equal(backbone.network.conv_stem.weight, torch.load(file)['conv_stem.weight'])
    backbone.init_weights()
    expected = torch.load(file)
    state = backbone.network.state_dict()
    assert (
        all(torch.equal(value, expected[name]) for name, value in state.items()) and 'blocks.0.0.conv.weight' in state
    )
    with torch.no_grad():
        backbone.network.conv_stem.weight.zero_()
    backbone.init_weights()
    assert not backbone.network.conv_stem.weight.any()


def test_inside_a_model_of_mmengine(file: Path) -> None:
    """A parent's initialisation reaches the backbone and does not undo its weights."""
    from mmengine.model import BaseModule

    class Parent(BaseModule):
        def __init__(self) -> None:
            super().__init__(init_cfg={'type': 'Constant', 'layer': 'Conv2d', 'val': 0.5})
            self.backbone = build(weights=str(file))
            self.neck = nn.Conv2d(2, 2, 1)

    parent = Parent()
    parent.init_weights()
    assert torch.equal(parent.neck.weight, torch.full_like(parent.neck.weight, 0.5))
    assert torch.equal(parent.backbone.network.conv_stem.weight, torch.load(file)['conv_stem.weight'])


def test_state_dict_makes_a_round_trip_and_needs_no_file(file: Path, tmp_path: Path) -> None:
    first = build(weights=str(file))
    first.init_weights()
    torch.save(first.state_dict(), tmp_path / 'checkpoint.pth')
    missing = str(tmp_path / 'gone.pth')
    for initialise in (False, True):
        second = build(weights=missing)
        if initialise:  # as before a resumed training
            second.init_weights()
        second.load_state_dict(torch.load(tmp_path / 'checkpoint.pth'))
        second.train()
        second(images(64, 64))
        first.eval(), second.eval()
        state = first.state_dict()
        assert [name for name, value in second.state_dict().items() if not torch.equal(value, state[name])] == [
            name for name in state if 'running' in name or 'tracked' in name
        ]


def test_a_missing_file_is_an_error_in_the_first_training_step(tmp_path: Path) -> None:
    backbone = build(weights=str(tmp_path / 'gone.pth'))
    backbone.init_weights()
    backbone.eval()(images(64, 64))
    with pytest.raises(CheckpointError, match=r"^backbone.weights is '.*gone.pth', which does not exist; "):
        backbone.train()(images(64, 64))


@pytest.mark.parametrize('frozen', [-1, 0, 2, 5])
def test_frozen_stages(frozen: int) -> None:
    backbone = build(frozen_stages=frozen).train()
    network = backbone.network
    parts = [[network.conv_stem, network.bn1], *([stage] for stage in network.blocks)]
    for index, part in enumerate(parts):
        is_frozen = index <= frozen
        for module in part:
            assert all(parameter.requires_grad != is_frozen for parameter in module.parameters())
            assert all(norm.training != is_frozen for norm in norms(module))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    sum(value.square().mean() for value in backbone(images(64, 64))).backward() if frozen < 5 else backbone(
        images(64, 64)
    )
    torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad] or [torch.zeros(1)], lr=0.1).step()
    after = backbone.state_dict()
    prefixes = ('network.conv_stem', 'network.bn1', *(f'network.blocks.{index}.' for index in range(max(frozen, 0))))
    for name, value in after.items():
        if frozen >= 0 and name.startswith(prefixes):
            assert torch.equal(value, before[name]), name
        else:
            assert not torch.equal(value, before[name]), name
    # `eval` and back, as a validation does.
    assert not any(norm.training for norm in norms(backbone.eval()))
    assert [norm.training for norm in norms(backbone.train())].count(False) == sum(
        len(norms(module)) for part in parts[: frozen + 1] for module in part
    )


def test_tokens_are_part_of_the_stem() -> None:
    backbone = build('test_vit', frozen_stages=1).train()
    vit = backbone.network.model
    assert not vit.pos_embed.requires_grad and not vit.cls_token.requires_grad
    assert not vit.blocks[0].mlp.fc1.weight.requires_grad and vit.blocks[1].mlp.fc1.weight.requires_grad


def test_norm_eval_keeps_statistics_and_trains_weights() -> None:
    backbone = build(norm_eval=True).train()
    before = [norm.running_mean.clone() for norm in norms(backbone)]
    sum(value.square().mean() for value in backbone(images(64, 64))).backward()
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms(backbone), before))
    assert all(norm.weight.grad is not None and norm.weight.grad.abs().sum() > 0 for norm in norms(backbone))
    assert backbone.network.training and not any(norm.training for norm in norms(backbone))


def test_gradients_are_those_of_timm(file: Path) -> None:
    backbone = build(weights=str(file), out_indices=(4,))
    backbone.init_weights()
    whole = timm.create_model(SMALL)
    whole.load_state_dict(torch.load(file))
    x = images(64, 96)
    backbone.train()(x)[0].square().sum().backward()
    whole.train()
    whole.blocks(whole.bn1(whole.conv_stem(x))).square().sum().backward()
    expected = dict(whole.named_parameters())
    for name, parameter in backbone.network.named_parameters():
        assert torch.equal(parameter.grad, expected[name].grad), name


def test_channels_last_changes_rounding_alone(file: Path) -> None:
    backbone = build(weights=str(file))
    backbone.init_weights()
    backbone.eval()
    with torch.no_grad():
        expected = backbone(images(64, 96))
        set_channels_last(backbone)
        maps = backbone(images(64, 96))
    assert maps[-1].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(maps, expected)


def test_drop_path_and_options_reach_timm() -> None:
    backbone = build('test_efficientnet', drop_path_rate=0.5, options={'in_chans': 1})
    rates = [module.drop_prob for module in backbone.modules() if type(module).__name__ == 'DropPath']
    assert max(rates) > 0.2 and backbone.network.conv_stem.in_channels == 1


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            {'model': 'tf_efficientnet_light0'},
            "model is 'tf_efficientnet_light0', .*; nearest: 'tf_efficientnet_lite0'",
        ),
        ({'model': 'hf-hub:timm/resnet18'}, "model is 'hf-hub:timm/resnet18', which timm does not have"),
        ({'model': None}, 'model is None, which timm does not have; valid: '),
        (
            {'out_indices': (2, 7)},
            r"out_indices is \(2, 7\), but 'test_efficientnet' has 5 feature maps; valid: 0 to 4$",
        ),
        ({'model': 'test_vit', 'out_indices': (99,)}, r"out_indices is \(99,\), but 'test_vit' has \d+ feature maps"),
        ({'out_indices': (3, 1)}, r'out_indices is \(3, 1\); expected ascending indices, such as \(2, 3, 4\)$'),
        ({'out_indices': (-1,)}, r'out_indices is \(-1,\); expected ascending'),
        ({'out_indices': ()}, r'out_indices is \(\); expected ascending'),
        ({'frozen_stages': 6}, "frozen_stages is 6, but 'test_efficientnet' has 5 stages; valid: -1 to 5$"),
        ({'out_indices': 3}, 'out_indices is 3; expected ascending'),
        ({'out_indices': (1.0, 2.0)}, r'out_indices is \(1.0, 2.0\); expected ascending'),
        ({'frozen_stages': 1.5}, 'frozen_stages is 1.5; valid: -1, 0, 1$'),
        ({'norm_eval': 'yes'}, "norm_eval is 'yes'; valid: True, False$"),
        ({'weights': 3}, "weights is 3; valid: None, 'path/to/file.pth', 'package:NAME'$"),
        ({'drop_path_rate': float('nan')}, 'drop_path_rate is nan'),
        ({'options': ['in_chans']}, r"options is \['in_chans'\]; expected a dict"),
        ({'options': {'pretrained': True}}, "options has 'pretrained'; use the arguments"),
        ({'options': {'drop_pat': 0.1}}, "options do not fit 'test_efficientnet' .*'drop_pat'"),
    ],
)
def test_errors_are_one_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f'^backbone.{message}') as caught:
        build(**settings)
    assert '\n' not in str(caught.value)


def test_a_tag_of_weights_is_allowed() -> None:
    assert build('resnet18.a1_in1k', out_indices=(4,)).out_channels == (512,)


def test_names_in_a_file_must_fit(file: Path, tmp_path: Path) -> None:
    state = torch.load(file)
    backbone = build()
    for change, message in (
        ({'conv_stem.weight': None}, "lacks 'conv_stem.weight' of the model 'test_efficientnet'; nearest: "),
        ({'blocks.9.weight': torch.ones(1)}, "holds 'blocks.9.weight', which .* does not have; nearest: 'blocks"),
        ({'conv_stem.weight': torch.ones(7)}, r"holds 'conv_stem.weight' of shape \(7,\); .* has \("),
        ({'classifier.weight': torch.ones(7)}, None),
    ):
        changed = {name: value for name, value in {**state, **change}.items() if value is not None}
        torch.save(changed, tmp_path / 'a.pth')
        if message is None:
            backbone.load_weights(tmp_path / 'a.pth')
            continue
        with pytest.raises(CheckpointError, match=f"^backbone.weights: '.*a.pth' {message}"):
            backbone.load_weights(tmp_path / 'a.pth')


def test_names_of_the_whole_model() -> None:
    assert whole_model_names(SMALL) == set(timm.create_model(SMALL).state_dict())


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == 'timm':
            raise ModuleNotFoundError("No module named 'timm'", name='timm')
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    return


@pytest.mark.usefixtures('without_timm')
def test_timm_is_missing() -> None:
    with pytest.raises(MissingDependencyError, match=r"^backbone: .* needs timm, .*; install the extra 'timm'$"):
        build()


def segmentor(channels: int) -> dict[str, Any]:
    head = {'type': 'FCNHead', 'in_channels': channels, 'in_index': 1, 'channels': 4, 'num_convs': 1, 'num_classes': 3}
    return {
        'type': 'EncoderDecoder',
        'decode_head': {**head, 'norm_cfg': {'type': 'BN'}},
        'test_cfg': {'mode': 'whole'},
    }


def estimator(channels: int) -> dict[str, Any]:
    codec = {'type': 'MSRAHeatmap', 'input_size': (64, 64), 'heatmap_size': (8, 8), 'sigma': 2}
    head = {'type': 'HeatmapHead', 'in_channels': channels, 'out_channels': 5, 'decoder': codec}
    return {'type': 'TopdownPoseEstimator', 'head': {**head, 'deconv_out_channels': None, 'deconv_kernel_sizes': None}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('package', 'model', 'out_indices', 'shape'),
    [('mmseg', segmentor, (2, 4), (2, 3, 2, 2)), ('mmpose', estimator, (2,), (2, 5, 8, 8))],
)
def test_in_models_of_openmmlab(package: str, model: Any, out_indices: Any, shape: tuple[int, ...], file: Path) -> None:
    register = pytest.importorskip(f'{package}.utils').register_all_modules
    register(init_default_scope=False)
    backbone = {'type': 'kd_plugins.TimmBackbone', 'model': SMALL, 'out_indices': out_indices, 'weights': str(file)}
    channels = build(out_indices=out_indices).out_channels[-1]
    with DefaultScope.overwrite_default_scope(package):
        built = MODELS.build({**model(channels), 'backbone': backbone})
    built.init_weights()
    assert torch.equal(built.backbone.network.conv_stem.weight, torch.load(file)['conv_stem.weight'])
    output = built.eval()(images(64, 64), None, mode='tensor')
    assert output.shape == shape


def test_a_conversion_that_removes_activations_is_refused() -> None:
    backbone = nn.SyncBatchNorm.convert_sync_batchnorm(build('tf_efficientnet_lite0'))
    with pytest.raises(ConfigError, match=r"^sync_bn: .* of 'backbone\.network\.bn1' has removed its activation"):
        backbone.train()
    nn.SyncBatchNorm.convert_sync_batchnorm(build('resnet18', frozen_stages=0)).train()  # its activations are layers


def test_a_replaced_layer_of_a_frozen_stage_is_frozen() -> None:
    backbone = build(frozen_stages=0)
    backbone.network.conv_stem = nn.Conv2d(3, backbone.network.conv_stem.out_channels, 3, 2, 1)
    backbone.train()
    assert not backbone.network.conv_stem.weight.requires_grad
