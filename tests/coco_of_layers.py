"""A small detector of the DETR family with random weights, and a COCO data set on which its decoder layers differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from kd_plugins.config.loading import load_config
from kd_plugins.diagnostics.layer_ap import record_layers
from kd_plugins.runner.launch import build_runner
from tests.visualization.trained import SMALL_FDR, write_image

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
CLASSES = ('RBC', 'WBC', 'Platelets')
SMALL: dict[str, Any] = {
    **{key: value for key, value in SMALL_FDR.items() if not key.startswith('model.bbox_head.')},
    'model.encoder.layer_cfg.ffn_cfg.feedforward_channels': 32,
    'model.decoder.layer_cfg.ffn_cfg.feedforward_channels': 32,
}
IMAGES = 3


def options(root: Path, name: str) -> dict[str, Any]:
    """Return what makes a shipped config for BCCD small and lets it read the data set in a folder."""
    small = dict(SMALL)
    if name.startswith('dab-detr'):
        small['model.neck.in_channels'] = [32]
    data = {'data_root': f'{root}/', 'ann_file': 'coco.json', 'data_prefix.img': 'images/'}
    small |= {f'test_dataloader.dataset.{key}': value for key, value in data.items()}
    return small | {
        'test_evaluator.classwise': False,  # NaN for a class without objects equals nothing
        'test_evaluator.ann_file': f'{root}/coco.json',
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'test_dataloader.batch_size': 2,
        'work_dir': str(root / 'work'),
        'load_from': str(root / 'model.pth'),
    }


def write_annotations(root: Path, boxes: list[list[tuple[list[float], int]]]) -> None:
    """Write corners and class indices of each image in COCO's format."""
    images = [dict(id=n, file_name=f'{n}.png', width=160, height=120) for n in range(IMAGES)]
    objects = []
    for image, found in enumerate(boxes):
        for (x1, y1, x2, y2), label in found:
            box = [x1, y1, x2 - x1, y2 - y1]
            objects.append(
                dict(id=len(objects) + 1, image_id=image, bbox=box, area=box[2] * box[3], category_id=label, iscrowd=0)
            )
    categories = [dict(id=n, name=name) for n, name in enumerate(CLASSES)]
    (root / 'coco.json').write_text(json.dumps(dict(images=images, annotations=objects, categories=categories)))


def make(root: Path, name: str) -> Config:
    """Write images, a checkpoint and objects near boxes of the first and of the last layer; return the config.

    Args:
        root: An empty folder.
        name: Name of a config in ``configs/dfine``.
    """
    (root / 'images').mkdir()
    for number in range(IMAGES):
        write_image(root / 'images' / f'{number}.png', 120, 160, seed=number)
    write_annotations(root, [[([20.0, 20.0, 60.0, 60.0], 0)]] * IMAGES)
    settings = options(root, name)
    config = load_config(str(CONFIGS / 'dfine' / f'{name}.py'), {**settings, 'load_from': None})
    torch.manual_seed(0)
    runner = build_runner(config)
    runner.model.init_weights()
    with torch.no_grad():
        for parameter in runner.model.bbox_head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save({'state_dict': runner.model.state_dict(), 'meta': {}}, root / 'model.pth')
    runner.model.eval()
    found = []
    with torch.no_grad(), record_layers(runner.model.bbox_head) as layers:
        for batch in runner.test_loop.dataloader:
            runner.model.test_step(batch)
            for first, *_, last in zip(*layers):
                kept = [(one.bboxes[i].tolist(), int(one.labels[i])) for one in (first, last) for i in (0, 1, 2)]
                found.append([(box, label) for box, label in kept if box[2] > box[0] + 2 and box[3] > box[1] + 2])
    write_annotations(root, found)
    return load_config(str(CONFIGS / 'dfine' / f'{name}.py'), settings)
