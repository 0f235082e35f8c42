from __future__ import annotations

import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

from .made import coco_config, content
from .made_masks import masks_config


def test_members_with_other_classes_are_refused(tmp_path):
    pytest.importorskip('mmdet')
    config = coco_config(tmp_path, val=content(('dog', 'cat'), first=10))
    first, second = config.train_dataloader.dataset, config.val_dataloader.dataset
    second.metainfo = dict(classes=('dog', 'cat'))
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[first, second])
    with pytest.raises(
        ConfigError, match=r"datasets\.1 has the classes \('dog', 'cat'\) and .*datasets\.0 \('cat', 'dog'\)"
    ):
        check_data_files(config, ('train_dataloader',))


def test_metainfo_over_which_mmengine_would_stop_is_refused(tmp_path):
    pytest.importorskip('mmseg')
    config = masks_config(tmp_path)
    member = config.train_dataloader.dataset
    coloured = dict(member, metainfo=dict(classes=('ground', 'crack'), palette=[[0, 0, 0], [9, 9, 9]]))
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[member, dict(member)])
    assert check_data_files(config, ('train_dataloader',)) == []
    config.train_dataloader.dataset.datasets[1] = coloured
    with pytest.raises(ConfigError, match=r"datasets\.1\.metainfo\.palette differs .* or ignore_keys=\['palette'\]"):
        check_data_files(config, ('train_dataloader',))
    config.train_dataloader.dataset.ignore_keys = ['palette']
    assert check_data_files(config, ('train_dataloader',)) == []
