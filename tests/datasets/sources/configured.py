"""Data sets as the shipped configs describe them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from kd_plugins.datasets.sources import fetch
from tests.datasets.sources.tiny_archives import tiny_source

CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / '_base_' / 'datasets'
SCOPES = {'bccd': 'mmdet', 'lspet': 'mmpose', 'isbi': 'mmseg', 'hippocampus': 'mmengine'}


def dataset_of(name: str, part: str, **changes: Any) -> Any:
    """Build the data set of a dataloader in ``configs/_base_/datasets``; its root comes from the environment.

    Args:
        name: Name of the config.
        part: ``'train'``, ``'val'`` or ``'test'``.
        **changes: Entries of ``dataset`` to replace.
    """
    scope = SCOPES[name]
    if scope != 'mmengine':
        utils = __import__(f'{scope}.utils', fromlist=['register_all_modules'])
        utils.register_all_modules(init_default_scope=False)
    init_default_scope(scope)
    dataset = Config.fromfile(CONFIGS / f'{name}.py')[f'{part}_dataloader'].dataset
    while 'dataset' in dataset:  # RepeatDataset
        dataset = dataset.dataset
    return DATASETS.build({**dataset, **changes})


def fetch_tiny(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fetch a data set from its tiny archive and point the config to it.

    Args:
        name: Name of the data set and its config.
        folder: Where archive and data set go.
        monkeypatch: Sets the environment variable that the config reads.

    Returns:
        Folder of the data set.
    """
    source, content = tiny_source(name)
    (folder / 'archive').write_bytes(content)
    fetch(source, folder / name, archive=folder / 'archive')
    monkeypatch.setenv(f'{name.upper()}_ROOT', str(folder / name))
    return folder / name
