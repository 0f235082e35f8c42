"""``kd_plugins show levels`` on the checkpoint of a short run, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('matplotlib')
pytest.importorskip('cv2')
import cv2
from mmengine.registry import DefaultScope

from kd_plugins.commands import show_levels
from tests.integration import unet_runs
from tests.visualization.trained import CONFIGS

FOLDER = CONFIGS / 'dual_self'
OPTIONS = ['--cfg-options', *(f'{key}={value}' for key, value in unet_runs.SMALL.items())]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp('levels') / 'run'
    before = DefaultScope._instance_dict.copy()
    unet_runs.run('unet_isbi_dsd', folder)
    DefaultScope._instance_dict.clear()  # the default scope of the run would outlive this module
    DefaultScope._instance_dict.update(before)
    return folder / 'epoch_2.pth'


@pytest.mark.usefixtures('slices')
def test_a_picture(run: Any, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'levels.png'
    done = run(show_levels, FOLDER / 'unet_isbi_dsd.py', checkpoint, '--index', 1, '--out', out, *OPTIONS)
    assert done.status == 0, done.err
    assert str(out) in done.out and cv2.imread(str(out)).std() > 0


@pytest.mark.usefixtures('slices')
@pytest.mark.parametrize(
    ('config', 'arguments', 'sentence'),
    [
        ('unet_isbi_dsd', ['--index', '2'], '--index: 2 does not exist; valid: 0 to 1'),
        ('unet_isbi_dsd', ['--out', 'levels.pgn'], "--out: 'levels.pgn' does not end in a known format"),
        (
            'unet_isbi_dsd',
            ['--distiller', 'dds'],
            "--distiller: the config has no DualSelfDistiller named 'dds'; nearest: 'dsd'",
        ),
        ('unet_isbi', [], "default_hooks.distill.distillers has no 'kd_plugins.DualSelfDistiller'"),
        ('unet_isbi_byot', [], 'holds no heads of distillers.byot; give one to resume from, such as epoch_20.pth'),
    ],
)
def test_refusals(run: Any, checkpoint: Path, config: str, arguments: list[str], sentence: str) -> None:
    done = run(show_levels, FOLDER / f'{config}.py', checkpoint, *arguments, *OPTIONS)
    assert done.status == 2 and sentence in done.error
