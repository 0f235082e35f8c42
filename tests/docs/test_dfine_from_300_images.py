"""The config of the page reads data laid out as the page says, and its table of averages is arithmetic."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('mmdet')

from mmengine.registry import DATASETS, DefaultScope

from kd_plugins.config.data_checks import check_classes, check_data, training_loaders
from kd_plugins.config.loading import load_config
from kd_plugins.config.second_stage import check_second_stage
from kd_plugins.data_checks import check_data_files
from kd_plugins.errors import ConfigError

PAGE = (Path(__file__).resolve().parents[2] / 'docs' / 'dfine_from_300_images.md').read_text(encoding='utf-8')


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's config beside a data set of two images, whose category ids begin at 3."""
    images = tmp_path / 'data' / 'images'
    images.mkdir(parents=True)
    records = []
    for number in (1, 2):
        cv2.imwrite(str(images / f'{number}.png'), np.full((40, 60, 3), 80 * number, np.uint8))
        records.append({'id': number, 'file_name': f'{number}.png', 'height': 40, 'width': 60})
    boxes = [{'id': 1, 'image_id': 1, 'category_id': 7, 'bbox': [5, 5, 20, 30], 'area': 600, 'iscrowd': 0}]
    content = {
        'images': records,
        'annotations': boxes,
        'categories': [{'id': 3, 'name': 'cat'}, {'id': 7, 'name': 'dog'}],
    }
    for split in ('train', 'val'):
        (tmp_path / 'data' / f'{split}.json').write_text(json.dumps(content))
    monkeypatch.setenv('CUSTOM_ROOT', str(tmp_path / 'data'))
    block, _ = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
    file = tmp_path / 'my_config.py'
    file.write_text(block)
    return file


def test_the_config_reads_the_data_of_the_page(config_file: Path) -> None:
    config = load_config(str(config_file))
    loaders = training_loaders(config)
    check_second_stage(config)
    check_data(config, loaders)
    check_classes(config, loaders)
    assert check_data_files(config, loaders) is not None
    with DefaultScope.overwrite_default_scope('mmdet'):
        for loader in (config.train_dataloader, config.val_dataloader):
            dataset = DATASETS.build(loader.dataset)
            assert dataset.metainfo['classes'] == ('cat', 'dog') and len(dataset) == 2
            item = dataset[0]
            assert item['inputs'].shape == (3, 640, 640)
            labels = item['data_samples'].gt_instances.labels.tolist()
            assert labels == [1] or (loader is config.train_dataloader and not labels)  # a crop may drop the box
    assert config.train_cfg.max_epochs == 60 + 12 and config.default_hooks.second_stage.stop_epoch == 60


def test_forgotten_classes_are_an_error(config_file: Path) -> None:
    text = config_file.read_text()
    config_file.write_text(re.sub(r'^(metainfo|train_dataloader|val_dataloader).*\n', '', text, flags=re.MULTILINE))
    config = load_config(str(config_file))
    with pytest.raises(ConfigError, match='classes'):
        check_classes(config, training_loaders(config))
        check_data_files(config, training_loaders(config))


def test_the_table_of_averages_is_arithmetic() -> None:
    rows = re.findall(r'^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) % \|', PAGE, re.MULTILINE)
    assert len(rows) == 3
    for images, batch, epochs, updates, left in (map(int, row) for row in rows):
        assert images // batch * epochs == updates and round(100 * 0.9999**updates) == left
