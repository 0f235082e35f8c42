"""Generated volumes suit the network of the config, and a wrong number of classes is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from kd_plugins.config.data_checks import check_classes
from kd_plugins.errors import ConfigError
from kd_plugins.testing import use_generated_data

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'dual_self' / 'unetr_hippocampus.py'


def test_volumes_suit_the_network() -> None:
    config = Config.fromfile(CONFIG)
    config.model.network.in_channels = 2
    config.model.inferer.roi_size = 16
    use_generated_data(config)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert dataset.metainfo['classes'] == ('background', 'anterior', 'posterior')
    first, again, other = dataset[0], dataset[8], dataset[1]
    assert first['inputs'].shape == (2, 16, 16, 16)
    labels = first['data_samples'].gt_sem_seg.data
    assert labels.shape == (1, 16, 16, 16) and set(labels.unique().tolist()) <= {0, 1, 2} and labels.any()
    assert torch.equal(first['inputs'], again['inputs']) and not torch.equal(first['inputs'], other['inputs'])


def test_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="model.type is 'ToyModel', for which no data is generated"):
        use_generated_data(Config(dict(default_scope='mmengine', model=dict(type='ToyModel'))))


def test_a_wrong_number_of_classes_is_refused() -> None:
    config = Config.fromfile(CONFIG)
    check_classes(config)
    config.model.network.out_channels = 2
    with pytest.raises(ConfigError, match='model.network.out_channels is 2, but train_dataloader.dataset has 3'):
        check_classes(config)
