"""The benchmark of inference: the three sides agree, and the tables have a row for each size."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('transformers')
pytest.importorskip('onnxruntime')

tool = import_module('tools.benchmark.dfine_inference')


@pytest.mark.slow
def test_tables_and_numbers(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    taken: list[int] = []

    def in_this_process(name: str, *arguments: Any) -> int | None:
        if name == 'onnxruntime':
            taken.append(tool.peak_memory(name, *arguments))
        return taken[-1] if taken else None

    monkeypatch.setattr(tool, 'in_own_process', in_this_process)
    out = tmp_path / 'new' / 'numbers.json'
    done = run(tool, '--sizes', 'n', '--side', '320', '--threads', '1', '--repeats', '2', '--out', out)
    torch.set_num_threads(threads)
    assert done.status == 0, done.err
    assert 'transformers / fused' in done.out and 'N     unknown       unknown' in done.out
    assert taken and taken[0] < 2**30
    (entry,) = json.loads(out.read_text())['entries']
    assert {name: len(values) for name, values in entry['seconds'].items()} == dict.fromkeys(tool.SIDES, 2)
    assert 0 < entry['difference'] < tool.TOLERANCE


def test_refused(run: Any) -> None:
    assert '--side is 64; nearest: 320' in run(tool, '--side', '64').error
    assert '--side is 650; nearest: 640' in run(tool, '--side', '650').error
    assert '--repeats is 0; nearest: 1' in run(tool, '--repeats', '0').error
