"""The comparison of a training step with that of transformers: a table and numbers in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('transformers')
tool = import_module('tools.benchmark.dfine_training')


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_step_and_losses(run: Any, tmp_path: Path) -> None:
    out = tmp_path / 'numbers.json'
    arguments = ['--sizes', 'n', '--images', '1', '--side', '256', '--repeats', '1', '--objects', '1', '3']
    arguments += ['--step-objects', '2', '--out', str(out)]
    outcome = run(tool, *arguments)
    assert outcome.status == 0, outcome.err
    printed = outcome.out
    assert 'transformers / ours' in printed and '1 images of 256 x 256' in printed
    results = json.loads(out.read_text())['results']
    assert [(one['what'], one['objects']) for one in results] == [('step', 2), ('losses', 1), ('losses', 3)]
    for one in results:
        assert len(one['ours']) == len(one['theirs']) == 1 and min(one['ours_bytes'], one['theirs_bytes']) > 0


def test_losses_have_the_layers_of_the_size() -> None:
    actions, held = tool.losses('n', 1, 2)
    actions['ours']()
    assert held[0].shape[0] == 4 and all(tensor.grad is not None for tensor in held[:5])
    tool.clear(held)
    assert all(tensor.grad is None for tensor in held)


def test_sizes_are_checked(run: Any) -> None:
    outcome = run(tool, '--side', '32')
    assert outcome.status and '--side is 32; nearest: 256' in outcome.err
    assert '--side is 300; nearest: 288' in run(tool, '--side', '300').err
