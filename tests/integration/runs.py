"""Small real runs for the integration tests: a narrow GFL of MMDetection on generated images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Dataset

SIZE = 64
CLASSES = ('square', 'bar')
LD: dict[str, Any] = {'type': 'kd_plugins.LocalizationDistiller', 'weight': 0.5}
EMA: dict[str, Any] = {'type': 'kd_plugins.EMATeacher', 'momentum': 0.1}
# The widths of the two layers differ, so the distiller has an adapter with parameters.
FEATURE: dict[str, Any] = {
    'type': 'kd_plugins.FeatureDistiller',
    'student_tap': 'backbone.layer2',
    'teacher_tap': 'backbone.layer3',
    'source': 'student',
    'resize': 'bilinear',
    'weight': 0.3,
}


class Squares(Dataset):
    """Bright rectangles on noise; image ``i`` depends on ``i`` alone.

    With ``augment`` the brightness is random. With ``empty`` every fifth image has no rectangle.
    """

    metainfo = {'classes': CLASSES}

    def __init__(self, length: int = 16, empty: bool = False, augment: bool = False) -> None:
        self.length = length
        self.augment = augment
        self.empty = empty

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        from mmdet.structures import DetDataSample
        from mmengine.structures import InstanceData

        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 80, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        count = 0 if self.empty and index % 5 == 0 else 2
        corners = torch.randint(0, SIZE // 2, (count, 2), generator=generator)
        sizes = torch.randint(12, SIZE // 2, (count, 2), generator=generator)
        boxes = torch.cat([corners, corners + sizes], 1).float()
        for x1, y1, x2, y2 in boxes.int().tolist():
            image[:, y1:y2, x1:x2] += 120
        if self.augment:
            # From the generator of the main process, as in augmentation without workers.
            image = (image * (0.5 + 0.5 * torch.rand(()))).to(torch.uint8)
        info = {'img_shape': (SIZE, SIZE), 'ori_shape': (SIZE, SIZE), 'scale_factor': (1.0, 1.0), 'img_id': index}
        sample = DetDataSample(metainfo={**info, 'img_path': f'square_{index}.png'})
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(count) % 2)
        return {'inputs': image, 'data_samples': sample}


def model_config(norm: str = 'BN', channels: int = 8) -> dict[str, Any]:
    """Return the config of a small GFL; use ``norm='GN'`` where batch statistics would differ between ranks."""
    norm_cfg = {'type': 'GN', 'num_groups': 2} if norm == 'GN' else {'type': 'BN', 'requires_grad': True}
    widths = [channels * 2**i for i in range(4)]
    return {
        'type': 'mmdet.GFL',
        'data_preprocessor': {
            'type': 'mmdet.DetDataPreprocessor',
            'mean': [64.0] * 3,
            'std': [64.0] * 3,
            'pad_size_divisor': 32,
        },
        'backbone': {
            'type': 'mmdet.ResNet',
            'depth': 18,
            'base_channels': channels,
            'norm_cfg': norm_cfg,
            'norm_eval': False,
        },
        'neck': {
            'type': 'mmdet.FPN',
            'in_channels': widths,
            'out_channels': 8,
            'start_level': 1,
            'add_extra_convs': 'on_output',
            'num_outs': 4,
        },
        'bbox_head': {
            'type': 'mmdet.GFLHead',
            'num_classes': len(CLASSES),
            'in_channels': 8,
            'feat_channels': 8,
            'stacked_convs': 1,
            'norm_cfg': {'type': 'GN', 'num_groups': 2},
            'reg_max': 8,
            'anchor_generator': {
                'type': 'mmdet.AnchorGenerator',
                'ratios': [1.0],
                'octave_base_scale': 4,
                'scales_per_octave': 1,
                'strides': [8, 16, 32, 64],
            },
            'loss_cls': {'type': 'mmdet.QualityFocalLoss', 'use_sigmoid': True},
            'loss_dfl': {'type': 'mmdet.DistributionFocalLoss', 'loss_weight': 0.25},
            'loss_bbox': {'type': 'mmdet.GIoULoss', 'loss_weight': 2.0},
        },
        'train_cfg': {'assigner': {'type': 'mmdet.ATSSAssigner', 'topk': 4}, 'allowed_border': -1, 'pos_weight': -1},
        'test_cfg': {
            'nms_pre': 100,
            'score_thr': 0.05,
            'nms': {'type': 'nms', 'iou_threshold': 0.6},
            'max_per_img': 10,
        },
    }


class Recorder(Hook):
    """Record the losses of every iteration; raise ``KeyboardInterrupt`` after iteration ``kill_at``."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.losses: list[dict[str, float]] = []
        self.kill_at = kill_at

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append({key: float(value.detach()) for key, value in outputs.items()})
        if self.kill_at == runner.iter:
            raise KeyboardInterrupt('killed by the test')


def make_runner(
    work_dir: Path,
    distillers: dict[str, Any] | None = None,
    teacher: dict[str, Any] | None = None,
    *,
    model: dict[str, Any] | None = None,
    dataset: Dataset | None = None,
    epochs: int = 2,
    batch_size: int = 4,
    accumulate: int = 1,
    hooks: list[Any] | None = None,
    distill: dict[str, Any] | None = None,
    **config: Any,
) -> Runner:
    """Build the runner of an MMDetection run, with DistillHook if ``distillers`` are given.

    ``distill`` holds further arguments of the hook and ``config`` further arguments of the runner.
    """
    from mmdet.utils import register_all_modules

    import kd_plugins  # noqa: F401

    register_all_modules(init_default_scope=False)
    default_hooks: dict[str, Any] = {
        'logger': {'type': 'LoggerHook', 'interval': 2},
        'checkpoint': {'type': 'CheckpointHook', 'interval': 1},
        'epoch_seed': {'type': 'kd_plugins.EpochSeedHook'},
    }
    if distillers is not None:
        parts = {'distillers': distillers, 'teacher': teacher, **(distill or {})}
        default_hooks['distill'] = {'type': 'kd_plugins.DistillHook', **parts}
    settings: dict[str, Any] = {
        'train_dataloader': {
            'batch_size': batch_size,
            'num_workers': 0,
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            'collate_fn': {'type': 'pseudo_collate'},
            'dataset': dataset or Squares(),
        },
        'train_cfg': {'by_epoch': True, 'max_epochs': epochs},
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 2e-3},
            'accumulative_counts': accumulate,
            'clip_grad': {'max_norm': 35},
        },
        'param_scheduler': [
            {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'begin': 0, 'end': 3},
            {'type': 'MultiStepLR', 'by_epoch': True, 'milestones': [1], 'gamma': 0.5},
        ],
        'default_hooks': default_hooks,
        'custom_hooks': hooks or [],
        'default_scope': 'mmdet',
        'randomness': {'seed': 3},
        # MMEngine keeps loggers and visualizers by name for the whole process.
        'experiment_name': f'{work_dir.parent.name}_{work_dir.name}',
        'log_level': 'ERROR',
    }
    settings.update(config)
    return Runner(model=copy.deepcopy(model or model_config()), work_dir=str(work_dir), **settings)


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return a copy of every parameter and buffer."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Fail unless both hold the same keys with bit-identical values."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, different
