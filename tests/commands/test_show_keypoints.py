"""``kd_plugins show keypoints`` on small random estimators and two generated photographs, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmpose')
pytest.importorskip('matplotlib')
import cv2

from kd_plugins.commands import show_keypoints


def student(folder: Path) -> tuple[Path, Path]:
    return folder / 'small.py', folder / 'student.pth'


def test_a_picture_is_written(run: Any, tmp_path: Path, people: Path) -> None:
    out = tmp_path / 'new' / 'picture.png'
    teacher = ['--teacher', people / 'small.py', people / 'teacher.pth']
    done = run(show_keypoints, *student(people), *teacher, '--index', 1, '--out', out)
    assert done.status == 0, done.err
    assert str(out) in done.out and cv2.imread(str(out)).std() > 0


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--index', '2'], '--index: 2 does not exist; valid: 0 to 1'),
        (['--bbox', '0', '0', '9', '9'], '--bbox: the test data has boxes of its own; give --image with it'),
        (['--image', 'x.png', '--bbox', '9', '0', '9', '9'], '--bbox: 9 0 9 9 is empty'),
        (['--image', 'absent.png'], "absent.png' does not exist"),
        (['--image', '.'], "--image: '.' is not an image that OpenCV can read"),
        (['--joints', 'left_hp'], "joints: 'left_hp' does not exist; nearest: 'left_hip'"),
        (['--joints', '14'], "joints: '14' does not exist"),
        (['--top', '0'], '--top: 0 joints cannot be drawn; nearest: 1'),
        (['--out', 'picture.pgn'], "--out: 'picture.pgn' does not end in a known format; nearest: 'png'"),
        (['--device', 'warp'], "--device: 'warp' cannot be used"),
        (['--teacher', 'small.py', 'absent.pth'], "checkpoint: 'absent.pth' does not exist"),
        (['--teacher', 'heatmap.py', 'heatmap.pth'], 'input_size of the teacher is 96x128, and the crop'),
    ],
)
def test_refusals(run: Any, monkeypatch: Any, people: Path, arguments: list[str], sentence: str) -> None:
    monkeypatch.chdir(people)
    done = run(show_keypoints, *student(people), *arguments)
    assert done.status == 2 and sentence in done.error


def test_a_checkpoint_of_another_model_is_a_sentence(run: Any, people: Path) -> None:
    done = run(show_keypoints, people / 'small.py', people / 'heatmap.pth')
    assert done.status == 2 and "error: checkpoint: '" in done.error


def test_data_that_is_not_there_is_a_sentence(run: Any, monkeypatch: Any, tmp_path: Path, people: Path) -> None:
    monkeypatch.setenv('LSPET_ROOT', str(tmp_path / 'absent'))
    done = run(show_keypoints, *student(people))
    assert done.status == 2 and 'test_dataloader.dataset.data_root' in done.error and 'LSPET_ROOT' in done.error
