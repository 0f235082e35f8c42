from __future__ import annotations

import numpy as np
import pytest

from kd_plugins.data_checks.mask_values import loaded_values, read_mask
from kd_plugins.errors import ConfigError

from .made_masks import mask

pytest.importorskip('mmcv')


def test_values_and_shape(tmp_path):
    mask(tmp_path / 'a.png', np.array([[0, 3, 255], [3, 3, 0]], np.uint8))
    read = read_mask(str(tmp_path / 'a.png'), 'pillow')
    assert read.shape == (2, 3) and read.values.tolist() == [0, 3, 255]


def test_colours_and_wide_values_are_refused(tmp_path):
    mask(tmp_path / 'colours.png', np.zeros((4, 4, 3), np.uint8) + np.array([1, 2, 3], np.uint8))
    mask(tmp_path / 'wide.png', np.full((4, 4), 300, np.uint16))
    with pytest.raises(ConfigError, match=r"colours.png' has 3 channels \(colours\)"):
        read_mask(str(tmp_path / 'colours.png'), 'pillow')
    with pytest.raises(ConfigError, match="wide.png' holds the value 300 .* converts to one byte"):
        read_mask(str(tmp_path / 'wide.png'), 'pillow')


def test_loaded_values_are_those_of_the_loader(tmp_path):
    """Each of the 256 stored values, through MMSegmentation's own step."""
    annotations = pytest.importorskip('mmseg.datasets.transforms').LoadAnnotations
    mask(tmp_path / 'a.png', np.arange(256, dtype=np.uint8).reshape(16, 16))
    for reduce, label_map in ((False, None), (True, None), (False, {7: 2, 2: 5})):
        results = dict(
            seg_map_path=str(tmp_path / 'a.png'), seg_fields=[], reduce_zero_label=reduce, label_map=label_map
        )
        loaded = annotations().transform(results)['gt_seg_map'].reshape(-1)
        assert loaded_values(reduce, label_map).tolist() == loaded.tolist()
