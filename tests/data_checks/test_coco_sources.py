from __future__ import annotations

from kd_plugins.data_checks.coco_sources import coco_detection
from kd_plugins.data_checks.context import Context
from kd_plugins.data_checks.sources import sources_of

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
