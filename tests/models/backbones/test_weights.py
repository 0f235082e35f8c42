"""Files of weights: where they are found, how they are read, how their names are matched, what is refused."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.models.backbones import assign_names, efficientnet_lite_names, read_weights, weights_file
from kd_plugins.models.backbones.weights import WeightsNotFoundError, fit_weights, is_efficientnet_lite

STATE = {'stem.weight': torch.arange(3.0), 'blocks.0.bias': torch.ones(2)}


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, *files: str) -> str:
    """Make an importable package with empty files; importing it is an error."""
    root = folder / 'some_weights'
    (root / 'models').mkdir(parents=True)
    (root / '__init__.py').write_text('raise AssertionError("imported")')
    for name in files:
        (root / 'models' / name).touch()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, 'some_weights', raising=False)
    return 'package:some_weights'


def test_a_file_is_found_by_its_path_or_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'a.pth').touch()
    assert weights_file(str(tmp_path / 'a.pth')) == tmp_path / 'a.pth'
    name = package(tmp_path, monkeypatch, 'lite.pth', 'readme.txt')
    assert weights_file(name) == tmp_path / 'some_weights' / 'models' / 'lite.pth'


def test_the_error_names_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / 'lite0.pth').touch()
    with pytest.raises(WeightsNotFoundError, match=r"^model.neck is '.*lite.pth', .*; nearest: '.*lite0.pth'$"):
        weights_file(str(tmp_path / 'lite.pth'), 'model.neck')
    with pytest.raises(WeightsNotFoundError, match='does not exist; its folder .* holds no file of weights$'):
        weights_file(str(tmp_path / 'none' / 'lite.pth'))


@pytest.mark.parametrize('name', ['no_such_package', 'no such package', '../elsewhere', 'json.decoder', ''])
def test_a_package_that_is_not_there(name: str) -> None:
    with pytest.raises(WeightsNotFoundError, match=f"no package '{name}' is installed"):
        weights_file(f'package:{name}')


@pytest.mark.parametrize('files', [(), ('a.pth', 'b.safetensors')])
def test_a_package_must_hold_one_file(files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r'holds (no file|.*a\.pth.*b\.safetensors).*; name one file by its path'):
        weights_file(package(tmp_path, monkeypatch, *files))


@pytest.mark.parametrize(
    'wrap', [dict, lambda state: {'state_dict': state, 'epoch': 3}, lambda state: {'model': state}]
)
def test_weights_in_pytorch_files(wrap: object, tmp_path: Path) -> None:
    parallel = {f'module.{name}': value for name, value in STATE.items()}
    torch.save(wrap(OrderedDict(parallel)), tmp_path / 'a.pth')  # type: ignore[operator]
    read = read_weights(tmp_path / 'a.pth')
    assert read.keys() == STATE.keys() and all(torch.equal(read[name], STATE[name]) for name in STATE)


def test_weights_in_safetensors(tmp_path: Path) -> None:
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file(STATE, tmp_path / 'a.safetensors')
    read = read_weights(tmp_path / 'a.safetensors')
    assert read.keys() == STATE.keys() and all(torch.equal(read[name], STATE[name]) for name in STATE)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ['KD_TEST_FOLDER'],)


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('KD_TEST_FOLDER', str(tmp_path / 'made'))
    torch.save({'stem.weight': Malicious()}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r"^backbone.weights: '.*a.pth'"):
        read_weights(tmp_path / 'a.pth')
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut', b'some text'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_damaged_files(content: bytes, suffix: str, tmp_path: Path) -> None:
    if suffix == '.safetensors':
        pytest.importorskip('safetensors')
    path = tmp_path / f'a{suffix}'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^k: '.*a\."):
        read_weights(path, 'k')


@pytest.mark.parametrize('content', [[torch.ones(1)], {}, {'epoch': 3}, {1: torch.ones(1)}])
def test_files_without_weights(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r"^backbone.weights: '.*a.pth' .*"):
        read_weights(tmp_path / 'a.pth')


def test_names_of_efficientnet_lite() -> None:
    names = {
        '_conv_stem.weight': 'conv_stem.weight',
        '_bn0.running_mean': 'bn1.running_mean',
        '_blocks.0._depthwise_conv.weight': 'blocks.0.0.conv_dw.weight',
        '_blocks.0._bn2.weight': 'blocks.0.0.bn2.weight',
        '_blocks.1._expand_conv.weight': 'blocks.1.0.conv_pw.weight',
        '_blocks.2._bn2.bias': 'blocks.1.1.bn3.bias',
        '_blocks.2._project_conv.weight': 'blocks.1.1.conv_pwl.weight',
        '_bn1.bias': 'bn2.bias',
        '_fc.bias': 'classifier.bias',
    }
    assert is_efficientnet_lite(names) and not is_efficientnet_lite(names.values())
    assert efficientnet_lite_names(names, (1, 2)) == names
    with pytest.raises(CheckpointError, match='the weights have 3 blocks and the model 4'):
        efficientnet_lite_names(names, (1, 3))
    with pytest.raises(CheckpointError, match=r"hold '_blocks.0._bn0.bias'; nearest: '_bn2', '_bn1'"):
        efficientnet_lite_names(['_blocks.0._bn0.bias'], (1,))


def test_names_of_feature_extractors() -> None:
    file = {'stem.conv.weight', 'stages.0.norm_2.bias', 'pos_embed', 'layer1.0.bias', 'a_b.bias'}
    own = ['stem_conv.weight', 'stages_0.norm_2.bias', 'model.pos_embed', 'body.layer1.0.bias', 'a_b.bias', 'a.b.bias']
    found = assign_names(own, file)
    assert list(found.values()) == [
        'stem.conv.weight',
        'stages.0.norm_2.bias',
        'pos_embed',
        'layer1.0.bias',
        'a_b.bias',
        None,
    ]


def test_weights_must_fit() -> None:
    own = {'stem.weight': torch.zeros(3), 'blocks_0.bias': torch.zeros(2), 'bn.num_batches_tracked': torch.tensor(0)}
    known = {'stem.weight', 'blocks.0.bias', 'bn.num_batches_tracked', 'head.bias'}

    def fit(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return fit_weights(own, state, known, "weights: 'a.pth'", 'net')

    fitted = fit({**STATE, 'head.bias': torch.ones(9)})  # a classifier of other classes; no count of batches
    assert fitted.keys() == {'stem.weight', 'blocks_0.bias'} and fitted['stem.weight'] is STATE['stem.weight']
    with pytest.raises(CheckpointError, match=r"^weights: 'a.pth' lacks 'blocks_0.bias' .*; nearest: 'block.0.bias'"):
        fit({'stem.weight': torch.ones(3), 'block.0.bias': torch.ones(2)})
    with pytest.raises(CheckpointError, match=r"holds 'head.biass' and 1 more, which .*'net' .*; nearest: 'head.bias'"):
        fit({**STATE, 'head.biass': torch.ones(1), 'other': torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"holds 'stem.weight' of shape \(4,\); the model 'net' has \(3,\)$"):
        fit({**STATE, 'stem.weight': torch.ones(4)})
