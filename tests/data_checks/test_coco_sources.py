from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DATASETS

from kd_plugins.data_checks import check_data_files
from kd_plugins.data_checks.coco_sources import coco_detection
from kd_plugins.data_checks.context import Context
from kd_plugins.data_checks.sources import sources_of
from kd_plugins.errors import ConfigError

from .made import coco_config


def test_images_of_each_loader_are_collected(tmp_path):
    config = coco_config(tmp_path)
    context = Context(config)
    for source in sources_of(config):
        assert list(coco_detection(context, source)) == []
    names = {loader: sorted(path.rsplit('/', 1)[1] for path in paths) for loader, paths in context.images.items()}
    assert names == {
        'train_dataloader': ['0.jpg', '1.jpg', '2.jpg', '3.jpg'],
        'val_dataloader': ['10.jpg', '11.jpg', '12.jpg', '13.jpg'],
    }


@pytest.mark.parametrize('prefix', [None, {'img_path': 'images/'}], ids=['none', 'img_path'])
def test_the_folder_of_the_images_must_be_called_img(tmp_path, prefix):
    """``CocoDataset`` reads no other key, and has no default."""
    config = coco_config(tmp_path)
    node = config.train_dataloader.dataset
    node.pop('data_prefix')
    if prefix:
        node.data_prefix = prefix
    with pytest.raises(KeyError, match='img'):
        DATASETS.build(dict(node, pipeline=[]))[0]
    wanted = "^train_dataloader.dataset.data_prefix has no 'img', .* nearest: data_prefix=dict"
    with pytest.raises(ConfigError, match=wanted):
        check_data_files(config)


@pytest.mark.parametrize(
    ('loader', 'sentence'),
    [
        (dict(type='LoadImageFromFile'), 'values up to 4095 only'),
        (dict(type='LoadImageFromFile', color_type='unchanged'), None),
        (dict(type='LoadImageFromFile', imdecode_backend='tifffile'), None),
        (dict(type='LoadOfMyOwn'), None),
    ],
    ids=['opencv', 'unchanged', 'other backend', 'other step'],
)
def test_images_of_many_bits_are_judged_by_the_step_that_loads_them(tmp_path, loader, sentence):
    cv2 = pytest.importorskip('cv2')
    config = coco_config(tmp_path, pipeline=[loader])
    pixels = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    for path in (tmp_path / 'images').iterdir():
        path.write_bytes(cv2.imencode('.tiff', pixels)[1].tobytes())
    source = next(iter(sources_of(config)))
    if sentence is None:
        assert list(coco_detection(Context(config), source)) == []
        return
    with pytest.raises(ConfigError, match=sentence):
        list(coco_detection(Context(config), source))
