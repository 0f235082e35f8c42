from __future__ import annotations

import pytest
from mmengine.config import Config

from kd_plugins.data_checks.sources import sources_of

pytest.importorskip('mmdet')


def test_data_sets_inside_wrappers_are_listed_with_the_steps_of_the_wrappers():
    leaf = dict(
        type='CocoDataset',
        data_root='r/',
        ann_file='a.json',
        data_prefix=dict(img='img/'),
        pipeline=[dict(type='mmdet.LoadAnnotations', with_mask=True)],
    )
    inner = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[leaf, dict(leaf, data_root='/s')])
    )
    outer = dict(type='MultiImageMixDataset', dataset=inner, pipeline=[dict(type='Mosaic')])
    config = Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=outer), val_dataloader=None))
    first, second = sources_of(config)
    assert first.key == 'train_dataloader.dataset.dataset.dataset.datasets.0'
    assert (first.ann_file, second.ann_file) == ('r/a.json', '/s/a.json')
    assert first.folder('img') == 'r/img/'
    assert first.step('Mosaic') and first.step('LoadAnnotations')['with_mask']
    assert first.step('Resize') is None
    assert first.trains and first.is_local
    assert first.inherits('mmdet.', 'CocoDataset', 'load_data_list')
    assert not first.inherits('mmpose.', 'CocoDataset')


def test_remote_data_sets_are_not_local():
    node = dict(type='CocoDataset', ann_file='a', backend_args=dict(backend='petrel'))
    config = Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=node)))
    assert not next(sources_of(config)).is_local
