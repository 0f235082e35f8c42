"""A chain with a label-free stage: images without an annotation file, then labels, two iterations of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('mmdet')

from mmengine.config import Config
from PIL import Image

from kd_plugins.checkpoints import load_checkpoint
from kd_plugins.commands import train_stages
from kd_plugins.stages import chain as chain_module
from tests import warm_commands
from tests.command_runs import run

__all__ = ['run']

CHAIN = 'kd_plugins::chains/gfl_r18-r18w32_bccd_label-free.py'
SHORT = ['train_dataloader.batch_size=1', 'train_dataloader.num_workers=0', 'train_dataloader.dataset.indices=2']
SHORT += ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'val_cfg=None', 'val_dataloader=None']
SHORT += ['val_evaluator=None', 'test_cfg=None', 'test_dataloader=None', 'test_evaluator=None']
SHORT += ['default_hooks.checkpoint.save_best=None', 'default_hooks.logger.interval=1']
FOLDER = ["label_free:train_dataloader.dataset.ann_file=''"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images with one box each, as BCCD is laid out."""
    root = tmp_path / 'data'
    (root / 'JPEGImages').mkdir(parents=True)
    (root / 'coco').mkdir()
    generator = np.random.default_rng(0)
    images, boxes = [], []
    for index in range(2):
        name = f'{index}.jpg'
        Image.fromarray(generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(root / 'JPEGImages' / name)
        images.append({'id': index, 'file_name': name, 'height': 48, 'width': 64})
        boxes.append({'id': index, 'image_id': index, 'category_id': 1, 'bbox': [8, 8, 20, 20], 'area': 400})
        boxes[-1]['iscrowd'] = 0
    categories = [{'id': number, 'name': name} for number, name in enumerate(('RBC', 'WBC', 'Platelets'), 1)]
    content = {'images': images, 'annotations': boxes, 'categories': categories}
    (root / 'coco' / 'trainval.json').write_text(json.dumps(content))
    monkeypatch.setenv('BCCD_ROOT', str(root))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    return root


@pytest.mark.slow
def test_a_stage_without_labels_comes_before_one_with_labels(
    data: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_module, 'execute', warm_commands.execute)
    chain = tmp_path / 'chain.py'
    chain.write_text(f"_base_ = '{CHAIN}'\nstages = dict(plain=None)\n")
    done = tmp_path / 'done'
    outcome = run(train_stages, chain, '--work-dir', done, '--cfg-options', *SHORT, *FOLDER)
    assert outcome.status == 0, outcome.err
    log = (done / 'label_free' / 'train.log').read_text()
    # Two iterations, no loss on labels.
    assert '[1][2/2]' in log and 'task.cls: ' in log and ' loss_cls: ' not in log
    assert 'distill.logits.loss_logit: ' in log
    supervised = Config.fromfile(done / 'configs' / 'supervised.py')
    assert supervised.load_from == str((done / 'label_free.pth').resolve())
    assert 'task.cls' not in (done / 'supervised' / 'train.log').read_text()
    meta = load_checkpoint(done / 'label_free.pth')['meta']
    assert tuple(meta['dataset_meta']['classes']) == ('RBC', 'WBC', 'Platelets')
    assert not any(key.startswith('teacher') for key in load_checkpoint(done / 'label_free.pth')['state_dict'])
