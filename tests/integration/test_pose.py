"""MMPose on this stack: its metrics on real annotations, LSPE as a data set, and a distilled run on photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

pytest.importorskip('mmpose')
from mmpose.registry import DATASETS, METRICS, TRANSFORMS
from mmpose.utils import register_all_modules

from kd_plugins.config.loading import load_config
from kd_plugins.runner.launch import build_runner

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / 'shared' / 'data'
COCO, LSPET = DATA / 'coco_pose', Path(os.environ.get('LSPET_ROOT', DATA / 'lspet'))
DWPOSE = ROOT / 'configs' / 'dwpose'
needs_coco = pytest.mark.skipif(not COCO.is_dir(), reason='the four COCO images are not in ../shared/data')
needs_lspet = pytest.mark.skipif(not LSPET.is_dir(), reason='LSPE is not in ../shared/data, and LSPET_ROOT is not set')
TO_EVALUATE = [{'type': 'LoadImage'}, {'type': 'GetBBoxCenterScale'}, {'type': 'PackPoseInputs'}]
Predict = Callable[[np.ndarray], np.ndarray]
# Loads a checkpoint where kd_plugins cannot be imported; arguments: model as JSON, checkpoint.
PLAIN = """
import json, sys
sys.modules['kd_plugins'] = None
import torch
import mmdet.models, mmpose.models
from mmpose.registry import MODELS
from mmengine.registry import DefaultScope
DefaultScope.get_instance('plain', scope_name='mmpose')
model = MODELS.build(json.loads(sys.argv[1]))
state = torch.load(sys.argv[2], map_location='cpu', weights_only=False)['state_dict']
print(model.load_state_dict(state, strict=True))
"""


@pytest.fixture(autouse=True)
def pose(monkeypatch):
    monkeypatch.setenv('LSPET_ROOT', str(LSPET))
    register_all_modules()


def evaluate(dataset: Any, metric: dict[str, Any], predict: Predict) -> dict[str, float]:
    """Return the scores of predictions that ``predict`` computes from the annotated keypoints (N, K, 2)."""
    samples = []
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        keypoints = predict(sample.gt_instances.keypoints.astype(np.float64))
        sample.pred_instances = InstanceData(keypoints=keypoints, keypoint_scores=np.ones(keypoints.shape[:2]))
        samples.append(sample.to_dict())
    built = METRICS.build(metric)
    built.dataset_meta = dataset.metainfo
    built.process([], samples)
    return built.evaluate(len(samples))


def exact(keypoints: np.ndarray) -> np.ndarray:
    return keypoints


def moved(pixels: float) -> Predict:
    generator = np.random.default_rng(0)
    return lambda keypoints: keypoints + generator.normal(0, pixels, keypoints.shape)


@needs_coco
@pytest.mark.parametrize(
    ('dataset_type', 'file', 'metric_type', 'prefix', 'count'),
    [
        ('CocoDataset', 'test_coco.json', 'CocoMetric', 'coco', 17),
        ('CocoWholeBodyDataset', 'test_coco_wholebody.json', 'CocoWholeBodyMetric', 'coco-wholebody', 133),
    ],
)
def test_coco_evaluation(dataset_type, file, metric_type, prefix, count):
    settings = {'ann_file': file, 'data_prefix': {'img': ''}, 'test_mode': True, 'pipeline': TO_EVALUATE}
    dataset = DATASETS.build({'type': dataset_type, 'data_root': str(COCO), **settings})
    assert dataset.metainfo['num_keypoints'] == count
    metric = {'type': metric_type, 'ann_file': str(COCO / file)}
    perfect, near, far = (evaluate(dataset, metric, predict) for predict in (exact, moved(2.0), moved(10.0)))
    assert perfect[f'{prefix}/AP'] == pytest.approx(1.0) and perfect[f'{prefix}/AR'] == pytest.approx(1.0)
    assert 1 > near[f'{prefix}/AP'] > far[f'{prefix}/AP']
    # Errors in the last joints (ankles, or the right hand) lower the score as well.
    last = evaluate(dataset, metric, lambda keypoints: keypoints + 20.0 * (np.arange(count) >= 0.85 * count)[:, None])
    assert 1 > last[f'{prefix}/AP'] > far[f'{prefix}/AP']


@needs_lspet
def test_lspet_has_its_images_joints_and_metrics():
    config = load_config(str(DWPOSE / 'rtmpose-t_lspet.py'))
    train = DATASETS.build(config.train_dataloader.dataset)
    val = DATASETS.build({**config.val_dataloader.dataset, 'pipeline': TO_EVALUATE, 'indices': 40})
    assert len(train) == 2000 and len(val) == 40
    assert len(DATASETS.build({**config.val_dataloader.dataset, 'lazy_init': False})) == 500
    assert train.metainfo['num_keypoints'] == len(train.metainfo['sigmas']) == 14
    # The order of the joints is that of the files.
    stored = json.loads((LSPET / 'coco' / 'val.json').read_text())
    assert list(train.metainfo['keypoint_name2id']) == stored['categories'][0]['keypoints']
    links = {frozenset(link) for link in train.metainfo['skeleton_links']}
    assert links >= {frozenset((a - 1, b - 1)) for a, b in stored['categories'][0]['skeleton'] if {a, b} != {9, 10}}
    pck, coco = config.val_evaluator
    assert evaluate(val, pck, exact)['PCK'] == 1.0
    assert 1 > evaluate(val, pck, moved(10.0))['PCK'] > evaluate(val, pck, moved(30.0))['PCK']
    # 40 of the 500 people that the file holds.
    perfect, near = evaluate(val, coco, exact), evaluate(val, coco, moved(5.0))
    assert perfect['coco/AR'] == pytest.approx(40 / 500) and 0 < near['coco/AR'] < perfect['coco/AR']


@needs_lspet
def test_lspet_flips_left_and_right():
    config = load_config(str(DWPOSE / 'rtmpose-t_lspet.py'))
    dataset = DATASETS.build({**config.train_dataloader.dataset, 'pipeline': [{'type': 'LoadImage'}]})
    names = dataset.metainfo['keypoint_id2name']
    partner = dataset.metainfo['flip_indices']
    for joint, name in names.items():
        side, _, rest = name.partition('_')
        other = {'left': f'right_{rest}', 'right': f'left_{rest}'}.get(side, name)
        assert names[partner[joint]] == other
    plain, mirrored = dataset[0], TRANSFORMS.build({'type': 'RandomFlip', 'prob': 1.0})(dataset[0])
    width = plain['img'].shape[1]
    np.testing.assert_array_equal(mirrored['img'], plain['img'][:, ::-1])
    expected = plain['keypoints'][:, partner].copy()
    expected[..., 0] = width - 1 - expected[..., 0]
    np.testing.assert_allclose(mirrored['keypoints'], expected, rtol=1e-6)


@needs_lspet
@pytest.mark.slow
def test_a_distilled_run_on_photographs_leaves_a_plain_checkpoint(tmp_path):
    options = {
        'work_dir': str(tmp_path / 'run'),
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 2,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.indices': 8,
        'val_dataloader.num_workers': 0,
        'val_dataloader.dataset.indices': 4,
        'default_hooks.distill.teacher.config': str(DWPOSE / 'rtmpose-s_lspet.py'),
        'default_hooks.distill.teacher.checkpoint': None,
        'visualizer.name': tmp_path.name,
        'experiment_name': tmp_path.name,
    }
    config = load_config(str(DWPOSE / 'dwpose_s-t_lspet_stage1.py'), options)
    runner = build_runner(config)
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert scalars['val/PCK'].current() > 0 and 'val/coco/AP' in scalars
    assert scalars['train/distill.feature.loss_feat'].current() > 0
    # The cosine follows the length of the training: this is the last of six iterations behind a warm-up of two.
    share = 0.05 + 0.95 * (1 + np.cos(np.pi * 5 / 6)) / 2
    assert runner.optim_wrapper.get_lr()['lr'][0] == pytest.approx(share * config.base_lr)
    checkpoint = tmp_path / 'run' / 'epoch_2.pth'
    plain = Config.fromfile(DWPOSE / 'rtmpose-t_lspet.py').model
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', PLAIN, json.dumps(plain.to_dict()), str(checkpoint)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'All keys matched' in done.stdout
    saved = torch.load(checkpoint, map_location='cpu', weights_only=False)['meta']['dataset_meta']
    assert saved['num_keypoints'] == 14
