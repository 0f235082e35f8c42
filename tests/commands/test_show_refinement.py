"""``kd_plugins show refinement`` on a small random detector, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('matplotlib')
import cv2

from kd_plugins.commands import show_refinement
from tests.visualization.trained import CONFIGS, FDR_CONFIG, SMALL_FDR

OPTIONS = ['--cfg-options', *(f'{key}={str(value).replace(" ", "")}' for key, value in SMALL_FDR.items())]


def test_a_picture_is_written(run: Any, tmp_path: Path, fdr_files: tuple[Path, Path]) -> None:
    out = tmp_path / 'new' / 'picture.png'
    done = run(show_refinement, FDR_CONFIG, *fdr_files, '--out', out, '--score-thr', 0, '--top', 2, *OPTIONS)
    assert done.status == 0, done.err
    assert str(out) in done.out and cv2.imread(str(out)).std() > 0


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--query', '12'], '--query: 12 does not exist; valid: 0 to 11'),
        (['--score-thr', '1.5'], '--score-thr: no detection reaches 1.5; the highest score is 0.'),
        (['--out', 'picture.pgn'], "--out: 'picture.pgn' does not end in a known format; nearest: 'png'"),
        (['--top', '0'], '--top: 0 detections cannot be drawn; nearest: 1'),
        (['--device', 'warp'], "--device: 'warp' cannot be used"),
    ],
)
def test_refusals(run: Any, fdr_files: tuple[Path, Path], arguments: list[str], sentence: str) -> None:
    done = run(show_refinement, FDR_CONFIG, *fdr_files, *arguments, *OPTIONS)
    assert done.status == 2 and done.error.startswith(f'error: {sentence}')


@pytest.mark.parametrize(('config', 'kind'), [('gfl/gfl_r18_bccd.py', 'GFL'), ('dfine/dino_r18_bccd.py', 'DINO')])
def test_a_detector_without_fdr_is_a_sentence(run: Any, fdr_files: tuple[Path, Path], config: str, kind: str) -> None:
    done = run(show_refinement, CONFIGS / config, *fdr_files)
    sentence = f"model.type: '{kind}' has no edge distributions of FDR to show; nearest: 'kd_plugins.FDRDINO'"
    assert done.status == 2 and done.error == f'error: {sentence}'


def test_an_image_that_cannot_be_read_is_a_sentence(run: Any, tmp_path: Path, fdr_files: tuple[Path, Path]) -> None:
    (tmp_path / 'text.jpg').write_text('no image')
    (tmp_path / 'empty.jpg').touch()
    for name in ('text.jpg', 'empty.jpg', '.'):
        done = run(show_refinement, FDR_CONFIG, fdr_files[0], tmp_path / name, *OPTIONS)
        assert done.status == 2
        assert done.error == f"error: image: '{tmp_path / name}' is not an image that OpenCV can read"
    done = run(show_refinement, FDR_CONFIG, fdr_files[0], tmp_path / 'absent.jpg', *OPTIONS)
    assert done.status == 2 and "absent.jpg' does not exist" in done.error
