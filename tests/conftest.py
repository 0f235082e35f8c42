"""What every test gets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def scope_of_its_own() -> Iterator[None]:
    """Take away the default scope that a test's runner leaves to the process: the next may use another package."""
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
