"""Fixtures of the tests of pictures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def pose_scope() -> Iterator[None]:
    """Register MMPose's parts and make it the default scope."""
    pytest.importorskip('mmpose')
    from mmengine.registry import DefaultScope
    from mmpose.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield
