"""Fixtures of the tests of pictures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.visualization.trained import detectors, fdr_files, people, people_folder, slices

__all__ = ['detectors', 'fdr_files', 'people', 'people_folder', 'pose_scope', 'slices']


@pytest.fixture
def pose_scope() -> Iterator[None]:
    """Register MMPose's parts and make it the default scope."""
    pytest.importorskip('mmpose')
    from mmengine.registry import DefaultScope
    from mmpose.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield
