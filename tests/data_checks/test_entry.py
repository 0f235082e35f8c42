from __future__ import annotations

import pytest
from mmengine.config import Config

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made import coco_config, content

pytest.importorskip('mmdet')


def test_a_valid_data_set_has_no_error_and_no_note(tmp_path):
    assert check_data_files(coco_config(tmp_path)) == []


def test_only_the_loaders_of_the_run_are_checked(tmp_path):
    config = coco_config(tmp_path, val=content(('a', 'b'), first=10))
    check_data_files(config, ('train_dataloader',))
    with pytest.raises(ConfigError, match='val_dataloader'):
        check_data_files(config)


def test_every_member_of_a_concatenated_data_set_is_checked(tmp_path):
    config = coco_config(tmp_path, val=content(('cat', 'dogs'), first=10))
    first, second = config.train_dataloader.dataset, config.val_dataloader.dataset
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[first, second])
    with pytest.raises(ConfigError, match=r'train_dataloader\.dataset\.datasets\.1\.metainfo\.classes'):
        check_data_files(config, ('train_dataloader',))


def test_unknown_types_are_skipped():
    config = Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=dict(type='Mine', data_root='no'))))
    assert check_data_files(config) == []
