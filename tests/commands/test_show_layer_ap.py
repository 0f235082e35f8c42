"""``kd_plugins show layer-ap`` on a small random detector: table, file and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('pycocotools')

from kd_plugins.commands import show_layer_ap
from kd_plugins.commands import test as test_command
from tests import coco_of_layers

NAME = 'dino_r18_bccd_golsd'
CONFIG = coco_of_layers.CONFIGS / 'dfine' / f'{NAME}.py'


def test_table_and_file(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco_of_layers.make(tmp_path, NAME)
    settings = [f'{key}={value}'.replace(' ', '') for key, value in coco_of_layers.options(tmp_path, NAME).items()]
    out = tmp_path / 'new' / 'layers.json'
    arguments = [CONFIG, tmp_path / 'model.pth', '--work-dir', tmp_path / 'work']
    done = run(show_layer_ap, *arguments, '--out', out, '--cfg-options', *settings)
    assert done.status == 0, done.err
    content = json.loads(out.read_text())
    assert content['checkpoint'] == str(tmp_path / 'model.pth') and content['config'] == str(CONFIG)
    assert [layer['layer'] for layer in content['layers']] == [1, 2, 3]
    rows = [line.split() for line in done.out.splitlines()[-3:]]
    for row, layer in zip(rows, content['layers']):
        assert row == [str(layer['layer']), *(f'{layer[name]:.3f}' for name in show_layer_ap.COLUMNS)]
    tested = run(test_command, *arguments, '--cfg-options', *settings)
    assert tested.status == 0, tested.err
    assert f'coco/bbox_mAP: {content["layers"][-1]["metrics"]["coco/bbox_mAP"]:.4f}' in tested.out + tested.err


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ([CONFIG, 'model.pth', '--out', 'layers.txt'], "--out: 'layers.txt' does not end in '.json'; nearest: 'layers"),
        ([coco_of_layers.CONFIGS / 'dfine' / 'dino_r18_bcd.py', 'model.pth'], 'dino_r18_bcd.py'),
    ],
)
def test_wrong_arguments(arguments: list[Any], sentence: str, run: Any) -> None:
    done = run(show_layer_ap, *arguments)
    assert done.status == 2 and sentence in done.error
