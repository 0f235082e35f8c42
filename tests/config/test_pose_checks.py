"""Numbers of keypoints and input sizes of pose configs, checked before a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

pytest.importorskip('mmpose')

from mmpose.datasets.datasets.utils import parse_pose_metainfo

from kd_plugins.config.data_checks import check_classes
from kd_plugins.config.loading import load_config
from kd_plugins.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SIMCC, HEATMAP = (str(ROOT / 'configs' / 'dwpose' / f'{name}_lspet.py') for name in ('rtmpose-t', 'simplebaseline-r18'))
COCO = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192.py'
OFFSETS = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192.py'
RLE = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py'
WHOLE = 'mmpose::wholebody_2d_keypoint/rtmpose/ubody/rtmpose-t_8xb64-270e_coco-ubody-wholebody-256x192.py'


@pytest.mark.parametrize('path', [SIMCC, HEATMAP, COCO, OFFSETS, RLE, WHOLE])
def test_good_configs_pass(path):
    check_classes(load_config(path))


@pytest.mark.parametrize(
    ('path', 'key', 'count'),
    [
        (SIMCC, 'out_channels', 14),
        (HEATMAP, 'out_channels', 14),
        (COCO, 'out_channels', 17),
        (RLE, 'num_joints', 17),
        (WHOLE, 'out_channels', 133),
    ],
)
def test_a_wrong_number_of_keypoints_is_refused(path, key, count):
    with pytest.raises(ConfigError, match=rf'model\.head\.{key} is 5, but .* has {count} keypoints'):
        check_classes(load_config(path, {f'model.head.{key}': 5}))


def test_data_sets_inside_wrappers_are_checked():
    config = load_config(SIMCC, {'model.head.out_channels': 5})
    inner = config.train_dataloader.dataset
    config.train_dataloader.dataset = {'type': 'RepeatDataset', 'times': 2, 'dataset': inner}
    with pytest.raises(ConfigError, match='has 14 keypoints'):
        check_classes(config)
    # A converter changes the keypoints in a way that the check does not know.
    inner.pipeline.insert(1, {'type': 'KeypointConverter', 'num_keypoints': 5, 'mapping': [(0, 0)]})
    check_classes(config)


def test_input_sizes_that_differ_are_refused():
    with pytest.raises(ConfigError, match=r'model\.head\.input_size is \(192, 256\)'):
        check_classes(load_config(SIMCC, {'model.head.input_size': (192, 256)}))
    config = load_config(SIMCC)
    config.train_dataloader.dataset.pipeline[4].input_size = (192, 256)
    with pytest.raises(ConfigError, match=r'dataset\.pipeline\.4\.input_size is \(192, 256\)'):
        check_classes(config)
    config = load_config(SIMCC, {'model.head.input_size': (192, 256), 'model.head.decoder.input_size': (192, 256)})
    with pytest.raises(ConfigError, match=r'pipeline\.4\.input_size is \(160, 192\), but model\.head\.decoder'):
        check_classes(config)


def test_a_config_written_by_mmengine_flips_as_the_original(tmp_path):
    original = load_config(HEATMAP)
    original.dump(tmp_path / 'dumped.py')
    flips = []
    for path in (HEATMAP, str(tmp_path / 'dumped.py')):
        dataset = load_config(path).val_dataloader.dataset
        flips.append(parse_pose_metainfo(dataset.metainfo)['flip_indices'])
    assert flips[0] == flips[1] == [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13]
    # Without order_keypoints the pairs differ. Once MMEngine or MMPose keeps the order, the function can go.
    dumped = Config.fromfile(tmp_path / 'dumped.py').val_dataloader.dataset
    assert parse_pose_metainfo(dumped.metainfo)['flip_indices'] != flips[0]
