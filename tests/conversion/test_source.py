"""Files of D-FINE in every layout hold the same weights, and damaged or foreign ones are refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kd_plugins.conversion.source import (
    COUNTERS,
    class_names,
    hub_config,
    read_source,
    read_tensors,
    trained_activation,
    unknown_sentence,
)
from kd_plugins.errors import CheckpointError
from tests.conversion import rtdetr_files
from tests.conversion.files import own_weights, release_weights, save_release, twin
from tools.analysis.dfine_twins import ours

safetensors = pytest.importorskip('safetensors.torch')


def equal(state: dict[str, Tensor]) -> bool:
    expected = own_weights()
    return state.keys() == expected.keys() and all(torch.equal(state[name], value) for name, value in expected.items())


@pytest.mark.parametrize('layout', ['ema', 'model', 'bare'])
def test_layouts_of_the_release(layout: str, tmp_path: Path) -> None:
    source = read_source(save_release(tmp_path / 'last.pth', layout))
    assert equal(source.state)
    assert (source.layout, source.activation, source.classes) == ('release', None, None)
    assert source.constants == {'up': [0.5, 0.5], 'reg_scale': [4.0, 4.0]}


def test_prefixes_of_wrappers_are_left_out(tmp_path: Path) -> None:
    state = {f'module._orig_mod.{name}': value for name, value in release_weights().items()}
    assert equal(read_source(save_release(tmp_path / 'last.pth', 'bare', state)).state)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """The constant ``anchors`` of the release holds infinite values."""
    state = {**release_weights(), 'decoder.anchors': torch.full((1, 1, 4), torch.inf)}
    assert equal(read_source(save_release(tmp_path / 'last.pth', 'bare', state)).state)
    state['decoder.dec_score_head.0.bias'] = torch.full((80,), torch.nan)
    with pytest.raises(
        CheckpointError, match=r"holds NaN or infinite values in 'bbox_head\.cls_branches\.0\.bias'; take"
    ):
        read_source(save_release(tmp_path / 'last.pth', 'bare', state))
    safetensors.save_file({}, tmp_path / 'empty.safetensors')
    with pytest.raises(CheckpointError, match='holds no tensors'):
        read_source(tmp_path / 'empty.safetensors')


def test_files_of_transformers(tmp_path: Path) -> None:
    model = twin()
    newer = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    safetensors.save_file(newer, tmp_path / 'new.safetensors')
    # transformers 5 writes the names of transformers 4, for older readers.
    model.save_pretrained(tmp_path / 'hub')
    older = safetensors.load_file(tmp_path / 'hub' / 'model.safetensors')
    assert any('.self_attn.o_proj.' in name for name in newer) and any('.fc1.' in name for name in older)
    assert any(name.startswith('class_embed.') for name in newer)
    for path in (tmp_path / 'new.safetensors', tmp_path / 'hub', tmp_path / 'hub' / 'model.safetensors'):
        source = read_source(path)
        assert equal(source.state)
        assert source.layout == 'transformers'
        assert source.constants == {'up': [0.5], 'reg_scale': [4.0]}
    assert read_source(tmp_path / 'hub').activation == 'relu'


def test_config_of_transformers(tmp_path: Path) -> None:
    file = tmp_path / 'model.safetensors'
    assert hub_config(file) == {}
    config = {'id2label': {'0': 'cat', '1': 'dog'}, 'decoder_activation_function': 'silu'}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    safetensors.save_file({name: value.clone() for name, value in twin().state_dict().items()}, file)
    source = read_source(tmp_path)
    assert (source.classes, source.activation) == (['cat', 'dog'], 'silu')
    for content in ('[]', '{', ''):
        (tmp_path / 'config.json').write_text(content)
        assert hub_config(file) == {}
    assert class_names({'id2label': {'1': 'a'}}) is None
    assert class_names({}) is None


def test_activation_is_told_by_names() -> None:
    assert trained_activation('deim_dfine_hgnetv2_n_coco_160e.pth', {}) == 'silu'
    assert trained_activation('RTDETRv4-s.pth', {}) == 'silu'
    assert trained_activation('last.pth', {}) is None
    assert trained_activation('last.pth', {'encoder.feature_projector.weight': torch.ones(1)}) == 'silu'


def test_trained_norms_of_the_large_sizes_tell_deim() -> None:
    """D-FINE's L and X freeze the norms of the backbone, so a renamed file of DEIM is told from them."""
    with torch.device('meta'):
        states = {size: ours(size).state_dict() for size in ('m', 'l')}
    frozen = {name: value for name, value in states['l'].items() if not name.endswith(COUNTERS)}
    for name in ('last.pth', 'dfine_l_coco.pth'):
        assert trained_activation(name, {}, states['l']) == 'silu'
    assert trained_activation('last.pth', {}, frozen) is None
    assert trained_activation('dfine_l_coco.pth', {}, frozen) == 'relu'
    # M trains the norms in both families, so nothing tells.
    assert trained_activation('last.pth', {}, states['m']) is None


def test_projector_of_rtdetrv4_is_left_out(tmp_path: Path) -> None:
    state = {**release_weights(), 'encoder.feature_projector.0.weight': torch.ones(1)}
    source = read_source(save_release(tmp_path / 'best.pth', 'ema', state))
    assert equal(source.state)
    assert source.activation == 'silu'


def test_backbone(tmp_path: Path) -> None:
    state = {'stem.stem1.conv.weight': torch.ones(1), 'head.fc.bias': torch.ones(2)}
    torch.save(state, tmp_path / 'PPHGNetV2_B0_stage1.pth')
    source = read_source(tmp_path / 'PPHGNetV2_B0_stage1.pth')
    assert source.layout == 'backbone' and list(source.state) == list(state)


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    path = save_release(tmp_path / 'dfine_n_coco.pth')
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"SOURCE: '.*dfine_n_coco\.pth' is truncated or not"):
        read_source(path)
    short = tmp_path / 'short.safetensors'
    safetensors.save_file({'model.a': torch.ones(9)}, short)
    short.write_bytes(short.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"SOURCE: '.*' is not a file of safetensors"):
        read_source(short)
    with pytest.raises(CheckpointError, match=r"model\.safetensors' does not exist; nearest: '.*short\."):
        read_source(tmp_path)
    with pytest.raises(CheckpointError, match=r"does not exist; nearest: '.*dfine_n_coco\.pth'"):
        read_source(tmp_path / 'dfine_s_coco.pth')
    torch.save({'model': {'epoch': 3}}, path)
    with pytest.raises(CheckpointError, match='holds no tensors'):
        read_tensors(path)
    torch.save({'layer1.0.conv1.weight': torch.ones(1), 'fc.bias': torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=r"holds 'layer1\.0\.conv1\.weight' and 1 more, none of which D-FINE has"):
        read_source(path)
    state = {**release_weights(), 'decoder.decoder.layers.0.norm2.weight': torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"'decoder\.decoder\.layers\.0\.norm2\.weight', which D-FINE does not"):
        read_source(save_release(path, 'bare', state))
    assert 'and 2 more' in unknown_sentence('SOURCE', state, ['a', 'b', 'c'])


@pytest.mark.parametrize('version', [1, 2])
def test_layouts_of_rtdetr(version: int, tmp_path: Path) -> None:
    """Both releases, and transformers' names of both versions; the files hold no more than a number for each name."""
    released = {name: value.flatten()[:3] for name, value in rtdetr_files.release_weights(version).items()}
    released.update({name: torch.full((12,), 0.25) for name in released if name.endswith('points_scale')})
    newer = {
        name: value.flatten()[: 1 if '_proj.' in name and 'self_attn' in name else 3].clone()
        for name, value in rtdetr_files.transformers_weights(version).items()
    }
    newer.update({name: torch.full((12,), 0.25) for name in newer if name.endswith('points_scale')})
    pairs = (('self_attn.o_proj', 'self_attn.out_proj'), ('.mlp.fc', '.fc'), ('encoder.aifi', 'encoder.encoder'))
    older = {}
    for name, value in newer.items():
        for new, old in pairs:
            name = name.replace(new, old)
        older[name] = value
    assert older.keys() != newer.keys()
    safetensors.save_file(newer, tmp_path / 'new.safetensors')
    safetensors.save_file(older, tmp_path / 'old.safetensors')
    files = [save_release(tmp_path / f'rtdetr_{layout}.pth', layout, released) for layout in ('ema', 'model', 'bare')]
    for file in (*files, tmp_path / 'new.safetensors', tmp_path / 'old.safetensors'):
        source = read_source(file)
        assert source.family == 'rtdetr' and source.state.keys() == rtdetr_files.own_weights().keys()
        assert source.points == (None if version == 1 else (4, 4, 4))
        assert (source.sampling, source.activation) == (None, 'relu'), 'a file of RT-DETR is no DEIM under any name'
    torch.testing.assert_close(read_source(files[0]).state, read_source(files[2]).state)


def test_sampling_of_rtdetrv2_is_told_by_names(tmp_path: Path) -> None:
    state = {name: value.flatten()[:1] for name, value in rtdetr_files.release_weights().items()}
    for name, sampling in (('rtdetrv2_r18vd_dsp_3x_coco', 'discrete'), ('rtdetrv2_r18vd_120e_coco', None)):
        assert read_source(save_release(tmp_path / f'{name}.pth', 'bare', state)).sampling == sampling
    weights = {name: value.flatten()[:1].clone() for name, value in rtdetr_files.transformers_weights(2).items()}
    safetensors.save_file(weights, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps({'decoder_method': 'discrete'}))
    assert read_source(tmp_path).sampling == 'discrete'


def test_rtdetrv2_of_deim_is_refused(tmp_path: Path) -> None:
    """Its query positions have a layer more, and the activation is SiLU."""
    state = {name: value.flatten()[:1] for name, value in rtdetr_files.release_weights().items()}
    state['decoder.query_pos_head.layers.2.weight'] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"is an RT-DETRv2 of DEIM, .* three layers; valid: .* DEIM's D-FINE"):
        read_source(save_release(tmp_path / 'deim_rtdetrv2_r18vd_coco_120e.pth', 'bare', state))


def test_names_that_rtdetr_does_not_have(tmp_path: Path) -> None:
    state = {name: value.flatten()[:1] for name, value in rtdetr_files.release_weights().items()}
    state['decoder.decoder.layers.0.norm4.weight'] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"'decoder\.decoder\.layers\.0\.norm4\.weight', which RT-DETR does not"):
        read_source(save_release(tmp_path / 'rtdetr.pth', 'bare', state))
