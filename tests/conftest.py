"""Settings of every test: data roots from the environment, and a default scope that ends with the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

SHARED_DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'
DATA_ROOTS = {
    'BCCD_ROOT': 'bccd',
    'DSB2018_ROOT': 'dsb2018',
    'HIPPOCAMPUS_ROOT': 'hippocampus',
    'ISBI_ROOT': 'isbi_membrane/train',
    'KITTI_ROOT': 'kitti',
    'LSPET_ROOT': 'lspet',
    'VOC12_MINI_ROOT': 'voc12_mini',
}
"""Environment variable that a config reads to the folder below ``../shared/data``."""


def pytest_configure() -> None:
    """Let configs read the data in ``../shared/data``, if it is there and nobody has set another folder."""
    for variable, folder in DATA_ROOTS.items():
        if (SHARED_DATA / folder).is_dir():
            os.environ.setdefault(variable, str(SHARED_DATA / folder))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with slow tests first, so that no process is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope='session')
def configs_in_less_time() -> None:
    """Parse the metafiles of OpenMMLab's packages once in each process, and lay out no text of a config."""
    # Imported here, because the process that distributes the tests needs no PyTorch.
    from kd_plugins.testing.config_text import leave_texts_as_they_are
    from kd_plugins.testing.metafiles import parse_metafiles_once

    leave_texts_as_they_are()
    parse_metafiles_once()


@contextmanager
def default_scope_kept() -> Iterator[None]:
    """Restore the default scopes of before."""
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(autouse=True, scope='module')
def scope_of_the_file() -> Iterator[None]:
    """Take away the default scope that a fixture of a file leaves."""
    with default_scope_kept():
        yield


@pytest.fixture(autouse=True)
def scope_of_its_own() -> Iterator[None]:
    """Take away the default scope that a test's runner leaves to the process: the next may use another package."""
    with default_scope_kept():
        yield
