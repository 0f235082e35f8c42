from __future__ import annotations

import copy

import numpy as np
import pytest

from kd_plugins.data_checks import check_data_files
from kd_plugins.data_checks.masks import decode_runs
from kd_plugins.errors import ConfigError

from .made import SIDE, coco_config, content

pytest.importorskip('mmdet')
TRIANGLE = [4, 4, 24, 4, 24, 24]


def masked(tmp_path, segmentation, split='train', every=False):
    """Return a config that trains on masks and evaluates them; one annotation of one file has the segmentation."""
    files = dict(train=content(), val=content(first=10))
    for entry in files[split]['annotations'][: None if every else 1]:
        entry['segmentation'] = copy.deepcopy(segmentation)
    config = coco_config(tmp_path, **files)
    for loader in ('train_dataloader', 'val_dataloader'):
        config[loader].dataset.pipeline = [dict(type='LoadAnnotations', with_mask=True)]
    config.val_evaluator.metric = ['bbox', 'segm']
    return config


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize(
    ('segmentation', 'sentence'),
    [
        (None, 'an empty segmentation'),
        ([], 'an empty segmentation'),
        ([[1, 2, 3, 4]], 'valid: polygons'),
        (TRIANGLE, 'valid: polygons'),
        ('x', 'valid: polygons'),
        ([[4, 4, 24, 4, 24, float('nan')]], 'values that are not finite numbers'),
        ([['4', '4', '24', '4', '24', '24']], 'values that are not finite numbers'),
        ({'counts': [1, 2], 'size': [SIDE, SIDE]}, 'counts give the sum 3, and the size .64, 64. has 4096 pixels'),
        ({'counts': [-5, SIDE * SIDE + 5], 'size': [SIDE, SIDE]}, 'counts give a negative length'),
        ({'counts': [SIDE * 32], 'size': [SIDE, 32]}, 'its image is 64 high and 64 wide'),
        ({'counts': 'abc', 'size': [SIDE, SIDE]}, 'counts give'),
        ({'counts': [SIDE * SIDE]}, 'the size None'),
        ({'counts': None, 'size': [SIDE, SIDE]}, 'valid: a list, or a text'),
    ],
)
def test_masks_over_which_readers_fail_or_never_end_are_refused(tmp_path, segmentation, sentence, split):
    with pytest.raises(ConfigError, match=rf"{split}.json': annotation 1 has .*{sentence}"):
        check_data_files(masked(tmp_path, segmentation, split))


def test_valid_run_lengths_pass(tmp_path):
    assert check_data_files(masked(tmp_path, {'counts': [SIDE * SIDE - 100, 100], 'size': [SIDE, SIDE]})) == []


def test_polygons_that_training_leaves_out_are_a_note(tmp_path):
    (note,) = check_data_files(masked(tmp_path, [[1, 2], TRIANGLE]))
    assert note.endswith('1 of 8 masks hold polygons of no area, which are left out (first: annotation 1)')


def test_a_first_polygon_that_pycocotools_refuses(tmp_path):
    with pytest.raises(ConfigError, match=r"val.json': annotation 1 has the segmentation \[\[1, 2\]"):
        check_data_files(masked(tmp_path, [[1, 2], TRIANGLE], 'val'))


def test_masks_that_do_not_lie_in_their_boxes(tmp_path):
    away = [[0.1, 0.1, 0.3, 0.1, 0.3, 0.3]]
    (note,) = check_data_files(masked(tmp_path / 'one', away))
    assert '1 of 8 masks do not overlap their bbox (first: annotation 1)' in note
    with pytest.raises(ConfigError, match='8 of 8 masks do not overlap their bbox .* in pixels'):
        check_data_files(masked(tmp_path / 'all', away, every=True))


@pytest.mark.parametrize('seed', range(6))
def test_compressed_run_lengths_are_those_of_pycocotools(seed):
    coder = pytest.importorskip('pycocotools.mask')
    random = np.random.RandomState(seed)
    mask = np.asfortranarray(np.kron(random.rand(9, 7) > 0.5, np.ones((1 + 40 * seed, 3))).astype(np.uint8))
    flat = mask.ravel(order='F')
    ends = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    runs = [0] * int(flat[0]) + np.diff(ends).tolist()
    assert decode_runs(coder.encode(mask)['counts'].decode()).tolist() == runs
