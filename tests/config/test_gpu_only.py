"""Models that need a GPU are recognised by their parts."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from kd_plugins.config import gpu_only

SPARSE = Config(dict(model=dict(type='VoxelNet', middle_encoder=dict(type='mmdet3d.SparseEncoder'))))
POINTS = Config(dict(model=dict(type='PointRCNN', backbone=dict(type='PointNet2SAMSG'))))
PLAIN = Config(dict(model=dict(type='VoxelNet', middle_encoder=dict(type='PointPillarsScatter'))))


def test_the_part_and_its_operator_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_only, 'has_accelerator', lambda: False)
    assert gpu_only.needs_gpu(SPARSE) == (
        'model.middle_encoder is SparseEncoder, whose sparse convolution needs a GPU, and there is none'
    )
    assert 'model.backbone is PointNet2SAMSG' in gpu_only.needs_gpu(POINTS)
    assert gpu_only.needs_gpu(PLAIN) == ''


def test_with_a_gpu_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_only, 'has_accelerator', lambda: True)
    assert gpu_only.needs_gpu(SPARSE) == gpu_only.needs_gpu(POINTS) == ''
