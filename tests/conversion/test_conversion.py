"""Conversion into the detector: strict loading, class counts, and files that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

pytest.importorskip('mmdet')

from kd_plugins.conversion.classes import COCO_IN_OBJECTS365, LABELS, PRIOR, SCORES, listed_classes
from kd_plugins.conversion.conversion import (
    activations,
    check_activation,
    check_constants,
    check_detector,
    check_size,
    convert,
    fit,
    model_classes,
    row_names,
)
from kd_plugins.conversion.source import Source, read_source
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.models.backbones import HGNetV2
from kd_plugins.models.dfine import MALLoss
from kd_plugins.registry import MODELS
from tests.conversion import rtdetr_files
from tests.conversion.files import own_weights, release_weights, save_release
from tools.analysis import rtdetr_twins
from tools.analysis.dfine_twins import ROOT, ours

SILU: dict[str, Any] = {
    'decoder.act_cfg': dict(type='SiLU'),
    'decoder.layer_cfg.ffn_cfg.act_cfg': dict(type='SiLU'),
    'bbox_head.act_cfg': dict(type='SiLU'),
}


def detector(path: str) -> Any:
    """Return the detector of a shipped config."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(Config.fromfile(ROOT / 'configs' / path).model)


def source(num_classes: int = 80, **changes: Any) -> Source:
    constants = {'up': [0.5], 'reg_scale': [4.0]}
    return Source(Path('dfine.pth'), 'release', dict(own_weights(num_classes)), constants)._replace(**changes)


def test_weights_load_strictly_and_are_those_of_the_file(tmp_path: Path) -> None:
    model = ours('n')
    conversion = convert(read_source(save_release(tmp_path / 'dfine_n_coco.pth')), model)
    assert list(conversion.state) == list(model.state_dict())
    model.load_state_dict(conversion.state, strict=True)
    expected = own_weights()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert conversion.classes == listed_classes(80)
    assert conversion.rows is not None and conversion.rows.unchanged and not conversion.initialised


@pytest.mark.parametrize('count', [80, 366])
@pytest.mark.parametrize('target', [3, 100])
def test_other_class_counts_keep_the_rows_of_the_same_names(count: int, target: int) -> None:
    coco = listed_classes(80)
    assert coco is not None
    names = ['Person', 'platelet', 'Hair Drier'] if target == 3 else [*coco, *(f'new {i}' for i in range(20))]
    rows = {'person': 0, 'hair drier': 78} if count == 80 else {'person': 1, 'hair drier': 1 + COCO_IN_OBJECTS365[78]}
    conversion = convert(source(count), ours('n', target), names)
    conversion_of_names = dict(zip(map(str.lower, names), range(target)))
    before, after = own_weights(count), conversion.state
    scores = [name for name in after if SCORES.fullmatch(name)]
    assert len(scores) == 8 and set(conversion.initialised) == {*scores, LABELS}
    for name, value in after.items():
        if name in conversion.initialised:
            assert len(value) == target + (name == LABELS)
            for word, row in rows.items():
                assert torch.equal(value[conversion_of_names[word]], before[name][row])
        else:
            assert torch.equal(value, before[name])
    new = names.index('platelet') if target == 3 else 99
    assert all(after[name][new] == PRIOR for name in scores if name.endswith('bias'))
    assert not after[LABELS][-1].any() and 0.5 < after[LABELS][new].std() < 2
    assert conversion.rows is not None and conversion.rows.new == ([1] if target == 3 else list(range(80, 100)))
    ours('n', target).load_state_dict(after, strict=True)


def test_objects365_drops_the_unused_row_and_coco_takes_its_rows() -> None:
    before = own_weights(366)['bbox_head.cls_branches.2.weight']
    whole = convert(source(366), ours('n', 365))
    assert torch.equal(whole.state['bbox_head.cls_branches.2.weight'], before[1:])
    assert len(whole.state[LABELS]) == 366 and not whole.initialised
    coco = convert(source(366), ours('n'))
    rows = [1 + row for row in COCO_IN_OBJECTS365]
    assert torch.equal(
        coco.state['bbox_head.cls_branches.3.weight'], own_weights(366)['bbox_head.cls_branches.3.weight'][rows]
    )


def test_names_of_the_file_and_of_the_model() -> None:
    file = source(3, classes=['RBC', 'WBC', 'Platelets'])
    conversion = convert(file, ours('n', 2), ['platelets', 'rbc'])
    assert conversion.rows is not None and conversion.rows.sources == (2, 0)
    assert convert(source(3), ours('n', 3), ['a', 'b', 'c']).rows.unchanged  # type: ignore[union-attr]
    given = convert(source(3), ours('n', 3), ['a', 'b', 'c'], source_classes=['c', 'x', 'a'])
    assert given.rows is not None and given.rows.sources == (2, None, 0)
    assert model_classes(None, 7) is None
    with pytest.raises(ConfigError, match=r'num_classes is 3, but train_dataloader\.dataset has 2 classes; set .*=2'):
        model_classes(['a', 'b'], 3)
    with pytest.raises(ConfigError, match=r"--source-classes: 2 names, but 'dfine\.pth' has 3 classes"):
        row_names(source(3), ['a', 'b'], 3)
    # The hub's own names of COCO's classes do not hide those of Objects365.
    assert row_names(source(classes=listed_classes(80)), None, 80) == row_names(source(), None, 80)


def test_backbone_of_pphgnet_and_of_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    whole = timm.create_model('hgnetv2_b0').state_dict()
    torch.save(whole, tmp_path / 'timm.pth')
    model = ours('n')
    conversion = convert(read_source(tmp_path / 'timm.pth'), model)
    assert conversion.rows is None
    assert len(conversion.state) == len(model.backbone.state_dict())
    assert all(torch.equal(value, whole[name.removeprefix('backbone.')]) for name, value in conversion.state.items())
    with pytest.raises(CheckpointError, match=r"SOURCE: '.*timm\.pth' .* the model 'HGNetV2-B2'"):
        convert(read_source(tmp_path / 'timm.pth'), nn.ModuleDict({'backbone': HGNetV2('B2')}))
    with pytest.raises(ConfigError, match=r"model\.backbone\.type is 'Identity', .* nearest: 'kd_plugins\.HGNetV2'"):
        convert(read_source(tmp_path / 'timm.pth'), nn.ModuleDict({'backbone': nn.Identity()}))


def test_files_that_do_not_fit_the_config() -> None:
    model, subject = ours('n'), "SOURCE: 'a.pth'"
    with torch.device('meta'):
        larger, wider = ours('s'), ours('n', **{'encoder.num_blocks': 1})
    with pytest.raises(CheckpointError, match=r'D-FINE-N, but .* D-FINE-S; inherit .*dfine_n\.py.* --size n'):
        check_size(own_weights(), larger.state_dict(), subject)
    with pytest.raises(CheckpointError, match='a D-FINE with a stem of 16 .* config is D-FINE-N; change'):
        check_size(wider.state_dict(), model.state_dict(), subject)
    with pytest.raises(CheckpointError, match=r'has reg_scale=8, but model\.bbox_head\.reg_scale is 4; set .*=8'):
        check_constants({'up': [0.5], 'reg_scale': [4.0, 8.0]}, model, subject)
    with pytest.raises(CheckpointError, match=r'has up=0\.25, but model\.bbox_head\.up is 0\.5'):
        check_constants({'up': [0.25]}, model, subject)
    with pytest.raises(ConfigError, match=r"model\.type is 'Linear', which the weights of D-FINE do not fit"):
        check_detector(nn.Linear(1, 1))
    state = dict(own_weights())
    del state['decoder.layers.0.norms.0.bias']
    with pytest.raises(CheckpointError, match=r"lacks 'decoder\.layers\.0\.norms\.0\.bias'; copy or download"):
        fit(state, model.state_dict(), subject)
    state = {**own_weights(), 'memory_trans_norm.bias': torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"has shape \(3,\) for 'memory_.*' where .* \(128,\)"):
        fit(state, model.state_dict(), subject)
    with pytest.raises(CheckpointError, match=r"holds 'extra', which the config does not have"):
        fit({**own_weights(), 'extra': torch.zeros(3)}, model.state_dict(), subject)


def test_activation_of_the_file_must_be_that_of_the_config() -> None:
    plain, silu = ours('n'), ours('n', **SILU)
    assert (activations(plain), activations(silu)) == ({'relu'}, {'silu'})
    deim = source(activation='silu')
    with pytest.raises(
        CheckpointError,
        match=r'trained with SiLU .* as DEIM .* relu; set .*deim_dfine_s_coco\.py',
    ):
        convert(deim, plain)
    assert not convert(deim, silu).initialised
    with pytest.raises(
        CheckpointError, match=r"with ReLU .* as D-FINE and RT-DETR have, .* act_cfg=dict\(type='ReLU'\)"
    ):
        convert(source(), silu)
    assert convert(source(), silu, activation='silu').state
    half = ours('n', **{'bbox_head.act_cfg': dict(type='SiLU')})
    with pytest.raises(CheckpointError, match='the config has relu, silu'):
        check_activation('silu', half, 'SOURCE')


def test_deim_loads_into_its_shipped_config() -> None:
    with torch.device('meta'):
        model = detector('dfine_native/deim_dfine_s_coco.py')
    assert activations(model) == {'silu'} and isinstance(model.bbox_head.loss_cls, MALLoss)
    check_activation('silu', model, 'SOURCE')
    with pytest.raises(CheckpointError, match=r'trained with ReLU .* as D-FINE and RT-DETR have'):
        check_activation('relu', model, 'SOURCE')
    assert model.state_dict().keys() == ours('s').state_dict().keys()


def test_counters_that_a_file_lacks_are_zero() -> None:
    state = {name: value for name, value in release_weights().items() if not name.endswith('num_batches_tracked')}
    assert len(state) < len(release_weights())
    own = {name: value for name, value in own_weights().items() if not name.endswith('num_batches_tracked')}
    filled = convert(source(state=own), ours('n')).state
    counters = [value for name, value in filled.items() if name.endswith('num_batches_tracked')]
    assert counters and not any(counters) and all(value.dtype == torch.int64 for value in counters)


def rtdetr_source(num_classes: int = 80, **changes: Any) -> Source:
    state = dict(rtdetr_files.own_weights(num_classes))
    return Source(Path('rtdetr.pth'), 'release', state, family='rtdetr')._replace(**changes)


def test_rtdetr_with_other_classes() -> None:
    before, conversion = (
        rtdetr_files.own_weights(),
        convert(rtdetr_source(), rtdetr_twins.ours('r18vd', 2), ['dog', 'new']),
    )
    assert conversion.rows is not None and conversion.rows.sources == (16, None)
    for name, value in conversion.state.items():
        if name in conversion.initialised:
            assert torch.equal(value[0], before[name][16])
        else:
            assert torch.equal(value, before[name])
    assert len(conversion.initialised) == 2 * (rtdetr_files.LAYERS + 1) + 1
    rtdetr_twins.ours('r18vd', 2).load_state_dict(conversion.state, strict=True)


def test_rtdetr_that_does_not_fit() -> None:
    with torch.device('meta'):
        models = {size: rtdetr_twins.ours(size) for size in ('r18vd', 'r34vd')}
        points = rtdetr_twins.ours('r18vd', **{'decoder.layer_cfg.cross_attn_cfg.num_points': (3, 6, 3)})
        dfine = ours('n')
    cases = [
        (rtdetr_source(), dfine, r"model\.type is 'DFINE', which the weights of RT-DETR do not .*'kd_plugins\.RTDETR'"),
        (
            source(),
            models['r18vd'],
            r"model\.type is 'RTDETR', which the weights of D-FINE do not .*'kd_plugins\.DFINE'",
        ),
        (
            rtdetr_source(),
            models['r34vd'],
            r'is RT-DETR r18vd, but .* RT-DETR r34vd; inherit .*rtdetr_r18vd\.py.* --size r18vd',
        ),
        (rtdetr_source(points=(4, 4, 4)), points, r'has \(4, 4, 4\) sampling points .*num_points is \(3, 6, 3\); set'),
        (
            rtdetr_source(sampling='discrete'),
            models['r18vd'],
            r"discrete sampling, but .*method is 'default'; set .*'discrete'",
        ),
        (rtdetr_source(activation='silu'), models['r18vd'], r'trained with SiLU .* the config has relu'),
    ]
    for held, model, sentence in cases:
        with pytest.raises((CheckpointError, ConfigError), match=sentence):
            convert(held, model)


def test_backbone_of_rtdetr(tmp_path: Path) -> None:
    start = 'backbone.'
    state = {name: value for name, value in rtdetr_files.release_weights().items() if name.startswith(start)}
    torch.save({name.removeprefix(start): value for name, value in state.items()}, tmp_path / 'ResNet18_vd.pth')
    held = read_source(tmp_path / 'ResNet18_vd.pth')
    assert (held.layout, held.family) == ('backbone', 'rtdetr')
    conversion = convert(held, rtdetr_twins.ours('r18vd'))
    expected = {name: value for name, value in rtdetr_files.own_weights().items() if name.startswith(start)}
    assert conversion.rows is None and conversion.state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in conversion.state.items())
    with torch.device('meta'):
        deeper = rtdetr_twins.ours('r34vd')
    with pytest.raises(CheckpointError, match=r"ResNet18_vd\.pth' lacks 'backbone\.layer1\.2\.conv1\.weight'"):
        convert(held, deeper)
    with pytest.raises(
        ConfigError, match=r"model\.backbone\.type is 'HGNetV2', but .* ResNet-vd; valid: 'kd_plugins\.ResNetVD'"
    ):
        convert(held, ours('n'))
