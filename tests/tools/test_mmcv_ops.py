"""The comparison of MMCV's ops in two environments."""

from __future__ import annotations

import sys

import pytest
import torch

from tools.benchmark import mmcv_ops


def test_results_are_compared_bit_for_bit() -> None:
    result = torch.tensor([1.0, 2.0])
    assert mmcv_ops.digest(result) == mmcv_ops.digest(result.clone().requires_grad_())
    assert mmcv_ops.digest([result, result]) != mmcv_ops.digest(result)
    assert mmcv_ops.digest(result) != mmcv_ops.digest(result * (1.0 + 1e-7))


@pytest.mark.slow
def test_one_environment_equals_itself(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('mmcv.ops')
    assert mmcv_ops.main([sys.executable, sys.executable, '--rounds', '1']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(mmcv_ops.calls()) and all(line.endswith('  equal') for line in lines)
