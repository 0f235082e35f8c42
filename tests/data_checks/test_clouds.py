from __future__ import annotations

import numpy as np
import pytest

from kd_plugins.data_checks import clouds
from kd_plugins.data_checks.clouds import check_clouds, point_range
from kd_plugins.data_checks.sources import sources_of
from kd_plugins.errors import ConfigError

from .made_clouds import RANGE, clouds_config, points

pytest.importorskip('mmdet3d')


def checked(tmp_path, rows=None, size=None):
    source = next(iter(sources_of(clouds_config(tmp_path))))
    path = tmp_path / 'velodyne' / '000000.bin'
    points(path, rows)
    if size is not None:
        path.write_bytes(path.read_bytes()[:size])
    return list(check_clouds(source, [str(path)]))


def test_the_range_is_that_of_the_pipeline(tmp_path):
    assert point_range(next(iter(sources_of(clouds_config(tmp_path))))) == [float(value) for value in RANGE]


def test_whole_points_pass(tmp_path):
    assert checked(tmp_path) == []


@pytest.mark.parametrize(
    ('rows', 'size', 'sentence'),
    [
        (None, 0, 'is empty'),
        (None, 37, 'has 37 bytes, which is no whole number of points of 4 float32'),
        (None, 36, 'nearest: load_dim=3'),
        ([[10, 0, -1, np.nan]], None, 'point 0 is .* remove points that hold NaN'),
    ],
)
def test_clouds_that_cannot_be_used_are_refused(tmp_path, rows, size, sentence):
    with pytest.raises(ConfigError, match=f"000000.bin'.*{sentence}"):
        checked(tmp_path, rows, size)


def test_coordinates_that_the_filter_removes_are_a_note(tmp_path):
    (note,) = checked(tmp_path, [[10, 0, -1, 0.5], [np.nan, 0, -1, 0.5]])
    assert note.startswith('1 clouds hold points with NaN, which the range filter removes')


def test_sizes_of_a_part_of_many_clouds_are_asked(tmp_path, monkeypatch):
    """An even spread over 300 clouds reaches the last one after 256 others."""
    source = next(iter(sources_of(clouds_config(tmp_path))))
    paths = [tmp_path / 'velodyne' / f'{number:06d}.bin' for number in range(300)]
    for path in paths:
        points(path)
    paths[299].write_bytes(b'cut')
    with pytest.raises(ConfigError, match="000299.bin' has 3 bytes"):
        list(check_clouds(source, list(map(str, paths))))
    monkeypatch.setattr(clouds, 'SECONDS', 0.0)
    (note,) = check_clouds(source, list(map(str, paths)))
    assert note == 'train_dataloader.dataset: 8 of 300 clouds were read, evenly over the data set'
