"""tools/analysis/show_levels.py on checkpoints of short runs, 2-D and 3-D, and what it refuses."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('mmseg')
pytest.importorskip('matplotlib')
pytest.importorskip('cv2')
import cv2

from kd_plugins.config.loading import load_config
from tests.integration.unet_runs import SMALL, run

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'dual_self'
tool = import_module('kd_plugins.commands.show_levels')


@pytest.fixture(scope='module')
def slices(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp('isbi')
    for index in range(10):
        for name in ('image', 'label'):
            (folder / name).mkdir(exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 2, (8, 8)).repeat(8, 0).repeat(8, 1) * 255
            cv2.imwrite(str(folder / name / f'{index}.png'), pixels.astype(np.uint8))
    return folder


@pytest.fixture(scope='module')
def trained(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp('levels') / 'run'
    run('unet_isbi_dsd', folder)
    return folder


def show(capsys: Any, monkeypatch: Any, root: Path, *arguments: Any) -> tuple[int, str, str]:
    monkeypatch.delenv('KD_DEBUG', raising=False)
    monkeypatch.setenv('ISBI_ROOT', str(root))
    options = [f'{key}={value}' for key, value in SMALL.items()]
    monkeypatch.setattr(sys, 'argv', ['show_levels', *map(str, arguments), '--cfg-options', *options])
    status = 0
    try:
        tool.main()
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    found = capsys.readouterr()
    return status, found.out, found.err


def test_a_picture(capsys: Any, monkeypatch: Any, slices: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'levels.png'
    config = CONFIGS / 'unet_isbi_dsd.py'
    status, said, err = show(capsys, monkeypatch, slices, config, trained / 'epoch_2.pth', '--index', 1, '--out', out)
    assert status == 0, err
    assert str(out) in said
    picture = cv2.imread(str(out))
    assert picture is not None and picture.std() > 0


def test_what_is_drawn(monkeypatch: Any, slices: Path, trained: Path) -> None:
    monkeypatch.setenv('ISBI_ROOT', str(slices))
    config = load_config(str(CONFIGS / 'unet_isbi_dsd.py'), SMALL)
    args = tool.parser().parse_args(['config', str(trained / 'epoch_2.pth'), '--index', '1', '--split', 'val'])
    figure = tool.picture(config, args)
    assert len(figure.axes) == 3 + 4 + 4
    truth = cv2.imread(str(slices / 'label' / '1.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), (truth == 0).astype(int))
    assert [axes.get_title().split('\n')[0] for axes in figure.axes[2:4]] == ['output', 'encoder 1']


@pytest.mark.parametrize(
    ('config', 'arguments', 'sentence'),
    [
        ('unet_isbi_dsd', ['--index', '2'], '--index: 2 does not exist; valid: 0 to 1'),
        ('unet_isbi_dsd', ['--out', 'levels.pgn'], "--out: 'levels.pgn' does not end in a known format"),
        (
            'unet_isbi_dsd',
            ['--distiller', 'dds'],
            "--distiller: 'dds' is no DualSelfDistiller of the config; nearest: 'dsd'",
        ),
        ('unet_isbi', [], "default_hooks.distill.distillers has no 'kd_plugins.DualSelfDistiller'"),
        ('unet_isbi_byot', [], 'holds no heads of distillers.byot; give one to resume from, such as epoch_20.pth'),
    ],
)
def test_refusals(
    capsys: Any, monkeypatch: Any, slices: Path, trained: Path, config: str, arguments: list[str], sentence: str
) -> None:
    path = CONFIGS / f'{config}.py'
    status, _, err = show(capsys, monkeypatch, slices, path, trained / 'epoch_2.pth', *arguments)
    assert status == 2
    assert sentence in err and 'Traceback' not in err


def test_a_volume_is_cut_to_the_inferers_window() -> None:
    pytest.importorskip('monai')
    from mmengine.registry import MODELS
    from mmengine.structures import BaseDataElement

    from kd_plugins.structures import VolumeDataSample
    from kd_plugins.visualization import draw_levels, level_panels, level_predictions

    config = load_config(str(CONFIGS / 'dynunet_hippocampus_dsd.py'), {'model.network.filters': [2, 2, 2, 2, 2]})
    model = MODELS.build(config.model).eval()
    labels = torch.zeros(1, 35, 50, 20, dtype=torch.long)
    labels[:, 28:31, 40:46, 4:9] = 2
    # On disk the first axis runs the other way.
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[0, 3] = 34
    sample = VolumeDataSample(metainfo=dict(img_path='a.nii.gz', affine=np.eye(4)))
    sample.gt_sem_seg = BaseDataElement(metainfo=dict(affine=flipped), data=labels.flip(1))
    image = torch.randn(1, 35, 50, 20)
    inputs, truth = tool.prepare(model, {'inputs': [image], 'data_samples': [sample]}, 255)
    assert inputs.shape == (1, 1, 32, 32, 32) and truth.shape == (32, 32, 32)
    # The whole object is inside, at its place, and what lies outside of the volume does not count.
    assert truth[28 - 3 : 31 - 3, 40 - 18 : 46 - 18, 4:9].eq(2).all() and int((truth == 2).sum()) == 3 * 6 * 5
    assert inputs[0, :, :, :, :20].equal(image[:, 3:35, 18:50]) and (truth[..., 20:] == tool.IGNORED).all()
    name, distiller = tool.build_distiller(config, 'DualSelfDistiller', None)
    model(inputs)
    heads = tool.build_distiller(config, 'DualSelfDistiller', None)[1]
    with pytest.raises(Exception, match='holds no heads'):
        level_predictions(model, heads, inputs, (name, {}, 'best.pth'))
    state = {f'members.{name}.{key}': value for key, value in heads.state_dict().items()}
    found = level_predictions(model, distiller, inputs, (name, {'distill': {'distillers': state}}, 'epoch_1.pth'))
    figure = draw_levels(inputs[0, 0].numpy(), level_panels(found, truth.numpy(), 3))
    assert len(figure.axes) == 3 * (1 + 1 + 1 + 4 + 4)
