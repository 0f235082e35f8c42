"""``kd_plugins export``: the file, its report, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('mmdet')

from kd_plugins.commands import export
from kd_plugins.deployment import onnx_file
from tests.deployment.exported import HEIGHT, WIDTH, files


def test_writes_a_checked_file(run: Any, tmp_path: Path) -> None:
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
    assert (done.status == 2 and 'belongs to another model' in done.error) or 'lacks' in done.error
