"""``kd_plugins export``: the file, its report, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet')

from kd_plugins.commands import export
from kd_plugins.deployment import onnx_file
from tests.deployment.exported import HEIGHT, WIDTH, detector, files


def test_writes_a_checked_file(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    config, trained = files(tmp_path)
    out = tmp_path / 'new' / 'detector.onnx'
    done = run(export, config, trained, out, '--size', HEIGHT, WIDTH)
    assert done.status == 0, done.err
    assert 'batch of 1: onnxruntime and torch differ by' in done.out and 'batch of 2: onnxruntime' in done.out
    assert f'written: {out}, opset 17' in done.out
    properties = {entry.key: entry.value for entry in onnx.load(str(out)).metadata_props}
    assert json.loads(properties['classes']) == ['a', 'b', 'c']
    check_the_code_of_the_page(out, monkeypatch)


def check_the_code_of_the_page(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of docs/dfine_from_300_images.md gives MMDetection's detections of a photograph."""
    page = (Path(__file__).resolve().parents[2] / 'docs' / 'dfine_from_300_images.md').read_text(encoding='utf-8')
    code = re.findall(r'```python\n(.*?)```', page, re.DOTALL)[1]
    folder = file.parent
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((300, 150), Image.BICUBIC).save(folder / 'cat.png')
    monkeypatch.chdir(folder)
    scope: dict[str, Any] = {}
    exec(code.replace('cat.jpg', 'cat.png'), scope)
    model = detector()
    images = torch.from_numpy(scope['inputs']['images'])
    assert images.shape == (1, 3, HEIGHT, WIDTH)
    expected, gap = onnx_file.predictions(model, images, [(300, 150)])
    assert gap > 1e-5, 'the selection of queries is no matter of rounding'
    assert onnx_file.apart([scope[name] for name in ('labels', 'boxes', 'scores')], expected[0], 300) < 1e-4


def test_without_the_extra(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, trained = files(tmp_path)
    arguments = config, trained, tmp_path / 'out.onnx', '--size', HEIGHT, WIDTH
    missing = {'onnx', 'onnxruntime'}
    monkeypatch.setattr(onnx_file, 'find_spec', lambda name: None if name in missing else object())
    done = run(export, *arguments)
    assert done.status == 2 and "'onnx' (extra 'export') is not installed" in done.error
    assert onnx_file.session(b'') is None


def test_refused(run: Any, tmp_path: Path) -> None:
    config, trained = files(tmp_path)
    other = tmp_path / 'other.py'
    other.write_text("_base_ = 'kd_plugins::_base_/models/gfl_r18.py'\ndefault_scope = 'mmdet'\n")
    done = run(export, config, trained, tmp_path / 'out.pth')
    assert done.status == 2 and "does not end in '.onnx'; nearest:" in done.error
    done = run(export, other, trained, tmp_path / 'out.onnx')
    sentence = "model.type 'GFL' cannot be exported here; valid: 'kd_plugins.DFINE', 'kd_plugins.RTDETR'"
    assert done.status == 2 and sentence in done.error
