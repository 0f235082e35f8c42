from __future__ import annotations

import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.data_checks.metainfo import class_names
from kd_plugins.data_checks.sources import sources_of
from kd_plugins.errors import ConfigError

from .made import coco_config

pytest.importorskip('mmdet')


def test_class_names_may_come_from_a_file(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('cat\ndog\n')
    config = coco_config(tmp_path, metainfo=dict(classes=str(path)))
    assert class_names(next(sources_of(config))) == ('cat', 'dog')
    assert not check_data_files(config)


def test_a_text_that_names_no_file_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"classes is 'cat', which MMEngine reads as the name of a file .* \('cat',\)"
    ):
        check_data_files(coco_config(tmp_path, metainfo=dict(classes='cat')))


def test_a_name_must_occur_once(tmp_path):
    with pytest.raises(ConfigError, match="holds 'cat' twice"):
        check_data_files(coco_config(tmp_path, metainfo=dict(classes=('cat', 'cat'))))
