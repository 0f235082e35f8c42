"""``kd_plugins show views`` on a shipped config that gets a view, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmseg')
pytest.importorskip('matplotlib')
pytest.importorskip('cv2')
import cv2

from kd_plugins.commands import show_views
from tests.visualization.trained import CONFIGS, save_model

CONFIG = CONFIGS / 'dual_self' / 'unet_isbi_dsd.py'
OPTIONS = ['--cfg-options', 'default_hooks.distill.student_view.type=kd_plugins.PhotometricView']


@pytest.mark.usefixtures('slices')
def test_a_picture(run: Any, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'views.png'
    done = run(show_views, CONFIG, '--count', 2, '--out', out, *OPTIONS)
    assert done.status == 0, done.err
    assert str(out) in done.out and cv2.imread(str(out)).std() > 0


@pytest.mark.usefixtures('slices')
def test_a_picture_with_the_confidence_of_a_checkpoint(run: Any, tmp_path: Path) -> None:
    weights, out = tmp_path / 'epoch_1.pth', tmp_path / 'views.png'
    save_model(CONFIG, weights, 'mmseg')
    logits = ['type=kd_plugins.LogitDistiller', 'logits=decode_head.conv_seg', 'activation=softmax']
    options = [*OPTIONS, *(f'default_hooks.distill.distillers.classes.{option}' for option in logits)]
    done = run(show_views, CONFIG, '--count', 1, '--checkpoint', weights, '--out', out, *options)
    assert done.status == 0, done.err
    high, wide = cv2.imread(str(out)).shape[:2]
    assert high > 2.5 * wide  # three rows of one picture


@pytest.mark.usefixtures('slices')
@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ([], 'default_hooks.distill has no student_view; give a config that has'),
        (['--distiller', 'a', *OPTIONS], "--distiller is 'a' without --checkpoint; give both"),
        (['--checkpoint', 'a.pth', *OPTIONS], "distillers has no 'kd_plugins.LogitDistiller'; give a config that has"),
        (['--count', '0', *OPTIONS], '--count: 0 images cannot be drawn; valid: 1 to 16'),
        (['--out', 'views.pgn', *OPTIONS], "--out: 'views.pgn' does not end in a known format"),
        ([*OPTIONS, 'default_hooks.distill.student_view.hue=2'], 'student_view.hue is 2; it must be at most 0.5'),
    ],
)
def test_refusals(run: Any, arguments: list[str], sentence: str) -> None:
    done = run(show_views, CONFIG, *arguments)
    assert done.status == 2 and sentence in done.error
