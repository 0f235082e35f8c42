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
from tests.visualization.trained import CONFIGS

CONFIG = CONFIGS / 'dual_self' / 'unet_isbi_dsd.py'
OPTIONS = ['--cfg-options', 'default_hooks.distill.student_view.type=kd_plugins.PhotometricView']


@pytest.mark.usefixtures('slices')
def test_a_picture(run: Any, tmp_path: Path) -> None:
    out = tmp_path / 'new' / 'views.png'
    done = run(show_views, CONFIG, '--count', 2, '--out', out, *OPTIONS)
    assert done.status == 0, done.err
    assert str(out) in done.out and cv2.imread(str(out)).std() > 0


@pytest.mark.usefixtures('slices')
@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ([], 'default_hooks.distill has no student_view; give a config that has'),
        (['--count', '0', *OPTIONS], '--count: 0 images cannot be drawn; valid: 1 to 16'),
        (['--out', 'views.pgn', *OPTIONS], "--out: 'views.pgn' does not end in a known format"),
        ([*OPTIONS, 'default_hooks.distill.student_view.hue=2'], 'student_view.hue is 2; it must be at most 0.5'),
    ],
)
def test_refusals(run: Any, arguments: list[str], sentence: str) -> None:
    done = run(show_views, CONFIG, *arguments)
    assert done.status == 2 and sentence in done.error
