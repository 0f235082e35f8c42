"""Measure training with pseudo labels against MMDetection's: ``python tools/benchmark/semi_base_detector.py``.

Five runs of one Faster R-CNN are built in one process. Their steps alternate, on the same labelled and unlabelled
images, which are kept in memory:

* ``plain``: labelled images alone,
* ``ours``: the entry ``unlabelled=`` with pseudo labels, without a view,
* ``view``: the same with the photometric view, which is part of the step,
* ``semi_base``: MMDetection's ``SemiBaseDetector``, which computes the same losses as ``ours``,
* ``soft_teacher``: MMDetection's ``SoftTeacher``, which weighs these losses by more predictions of the teacher.

MMDetection's views are made by the workers of its loader and are not part of its steps. The teacher keeps a fixed
number of boxes of each image, whatever their score, so that networks with random weights have pseudo labels as well.
"""

from __future__ import annotations

import copy
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmdet.models import MultiBranchDataPreprocessor
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import init_default_scope

from kd_plugins.config.loading import load_config
from kd_plugins.datasets.position_stream import PositionStream
from kd_plugins.errors import ConfigError
from kd_plugins.profiling import benchmark
from kd_plugins.profiling.benchmark import add_step_options, check_sizes, check_steps
from kd_plugins.profiling.timing import Cost, interleave, median_ratio
from kd_plugins.registry import DATASETS, MODELS
from kd_plugins.runner.steps import distill_hook, temporary_runner
from kd_plugins.testing.items import RepeatedItems, numbered_classes
from kd_plugins.utils.device import has_accelerator
from kd_plugins.utils.tables import print_table

CONFIG = 'kd_plugins::unlabelled/faster-rcnn_r50_fpn_1x_coco_unlabelled.py'
NAMES = {
    'plain': 'plain training',
    'ours': '`unlabelled=`, no view',
    'view': '`unlabelled=`, view included',
    'semi_base': 'SemiBaseDetector',
    'soft_teacher': 'SoftTeacher',
}
CLASSES = ('RBC', 'WBC', 'Platelets')
CHANNELS = {18: [64, 128, 256, 512], 50: [256, 512, 1024, 2048]}
"""Depth of the ResNet to the channels of its stages."""
META = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'homography_matrix')
SIZES = ('labelled', 'unlabelled', 'objects', 'size', 'width')


@DATASETS.register_module()
class ImagesInMemory(RepeatedItems):
    """The first images of a data set, read once and repeated.

    Args:
        source: Config of the data set.
        start: Index of the first image.
        count: Number of images.
        length: Number of items.
    """

    def __init__(self, source: dict[str, Any], start: int, count: int, length: int) -> None:
        data: Any = MMENGINE_DATASETS.build(source)
        items = [data[index] for index in range(start, start + count)]
        for item in items:
            if 'homography_matrix' not in item['data_samples'].metainfo:
                item['data_samples'].set_metainfo({'homography_matrix': np.eye(3, dtype=np.float32)})
        super().__init__(items, length, data.metainfo)


@MODELS.register_module()
class SameImagesPreprocessor(MultiBranchDataPreprocessor):
    """MMDetection's preprocessor of three branches, with the unlabelled images that the other runs read.

    Args:
        data_preprocessor: Config of the detector's preprocessor.
        dataloader: Config of the stream of unlabelled images.
    """

    def __init__(self, data_preprocessor: dict[str, Any], dataloader: dict[str, Any]) -> None:
        super().__init__(data_preprocessor)
        self.stream = PositionStream(dataloader, seed=0)
        self.iteration = 0

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Add the unlabelled images of this iteration, and preprocess the three branches."""
        others = self.stream.batch(self.iteration)
        self.iteration += 1
        branches = {'sup': data, 'unsup_teacher': others, 'unsup_student': copy.deepcopy(others)}
        by_key = {key: {name: list(batch[key]) for name, batch in branches.items()} for key in data}
        return dict(super().forward(by_key, training))


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description="Compare training with pseudo labels with MMDetection's SemiBaseDetector")
    built.add_argument('--depth', type=int, choices=sorted(CHANNELS), default=18, help='depth of the ResNet')
    built.add_argument('--width', type=int, default=64, help='channels of the pyramid; 256 in MMDetection')
    built.add_argument('--size', type=int, nargs=2, default=[192, 256], metavar=('HEIGHT', 'WIDTH'))
    built.add_argument('--labelled', type=int, default=2, help='labelled images per step')
    built.add_argument('--unlabelled', type=int, default=2, help='unlabelled images per step')
    built.add_argument('--objects', type=int, default=10, help='most pseudo labels of an image')
    built.add_argument('--data', help='folder of BCCD as kd_plugins data bccd makes it; default: generated images')
    built.add_argument('--device', choices=('cpu', 'cuda'), help='refuse to measure on another device')
    add_step_options(built, steps=10, warmup=2)
    return built


def check(args: Namespace) -> None:
    """Refuse sizes below 1 and a device that the process would not use.

    Raises:
        ConfigError: Naming the argument.
    """
    check_steps(args)
    check_sizes(args, SIZES)
    device = 'cuda' if has_accelerator() else 'cpu'
    if args.device not in (None, device):
        advice = 'set CUDA_VISIBLE_DEVICES to an empty value' if args.device == 'cpu' else '--device cpu'
        raise ConfigError(f"--device is '{args.device}', and this process runs on '{device}'; nearest: {advice}")


def images(args: Namespace, start: int, batch_size: int) -> dict[str, Any]:
    """Return the config of a loader of images in memory.

    Args:
        args: Arguments of the command line.
        start: Index of the first image in the data set.
        batch_size: Images per step; four steps have different images.
    """
    count = 4 * batch_size
    height, width = args.size
    if args.data and not args.generated:
        pipeline = [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(width, height), keep_ratio=False),
            dict(type='PackDetInputs', meta_keys=META),
        ]
        source = dict(
            type='mmdet.CocoDataset',
            data_root=args.data,
            ann_file='coco/trainval.json',
            data_prefix=dict(img='JPEGImages/'),
            metainfo=dict(classes=CLASSES),
            pipeline=pipeline,
        )
    else:
        source = dict(
            type='kd_plugins.GeneratedDetection',
            classes=numbered_classes(len(CLASSES)),
            num_items=start + count,
            length=start + count,
            size=(height, width),
        )
    dataset = dict(type='kd_plugins.ImagesInMemory', source=source, start=start, count=count, length=1000 * batch_size)
    return dict(batch_size=batch_size, num_workers=0, dataset=dataset)


def shared_config(args: Namespace) -> Config:
    """Return the shipped config with the network and the images of the comparison."""
    config = load_config(CONFIG, args.cfg_options)
    model = config.model
    model.backbone.update(depth=args.depth, init_cfg=None)
    model.neck.update(in_channels=CHANNELS[args.depth], out_channels=args.width)
    model.rpn_head.update(in_channels=args.width, feat_channels=args.width)
    model.roi_head.bbox_roi_extractor.out_channels = args.width
    model.roi_head.bbox_head.update(in_channels=args.width, fc_out_channels=4 * args.width, num_classes=len(CLASSES))
    # Boxes of every score count, because networks with random weights give low ones.
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=args.objects)
    sampler = dict(type='DefaultSampler', shuffle=False)
    labelled = images(args, 0, args.labelled)
    config.train_dataloader = ConfigDict(**labelled, sampler=sampler, collate_fn=dict(type='pseudo_collate'))
    unlabelled = config.default_hooks.distill.unlabelled
    unlabelled.dataloader = ConfigDict(images(args, 4 * args.labelled, args.unlabelled))
    unlabelled.weight = 1.0
    unlabelled.pseudo = ConfigDict(type='kd_plugins.PseudoLabels', score_thr=0.0)
    return config


def mmdet_config(config: Config, kind: str) -> Config:
    """Return a config of MMDetection's semi-supervised training of the same detector.

    Args:
        config: The config with ``unlabelled=``.
        kind: ``'SemiBaseDetector'`` or ``'SoftTeacher'``.
    """
    semi = copy.deepcopy(config)
    detector = semi.model.to_dict()
    preprocessor = detector['data_preprocessor']
    dataloader = semi.default_hooks.distill.unlabelled.dataloader.to_dict()
    # Numbers of MMDetection's own config, but for the scores: all pseudo labels count, in every loss.
    train_cfg = dict(freeze_teacher=True, sup_weight=1.0, unsup_weight=1.0, min_pseudo_bbox_wh=(1e-2, 1e-2))
    train_cfg.update(pseudo_label_initial_score_thr=0.0, rpn_pseudo_thr=0.0, cls_pseudo_thr=0.0)
    train_cfg.update(reg_pseudo_thr=float('inf'), jitter_times=10, jitter_scale=0.06)
    semi.model = ConfigDict(
        type=f'mmdet.{kind}',
        detector=detector,
        data_preprocessor=dict(
            type='kd_plugins.SameImagesPreprocessor', data_preprocessor=preprocessor, dataloader=dataloader
        ),
        semi_train_cfg=train_cfg,
        semi_test_cfg=dict(predict_on='teacher'),
    )
    momentum = next(hook.momentum for hook in semi.custom_hooks if hook.type == 'EMAHook')
    semi.custom_hooks = [dict(type='MeanTeacherHook', momentum=momentum)]
    del semi.default_hooks['distill']
    return semi


def arms(args: Namespace) -> dict[str, Config]:
    """Return the config of each run."""
    view = shared_config(args)
    configs = {name: copy.deepcopy(view) for name in ('plain', 'ours')}
    del configs['plain'].default_hooks['distill']
    configs['plain'].custom_hooks = []
    configs['ours'].default_hooks.distill.student_view = None
    configs['view'] = view
    configs['semi_base'] = mmdet_config(view, 'SemiBaseDetector')
    configs['soft_teacher'] = mmdet_config(view, 'SoftTeacher')
    return configs


def start_together(configs: Mapping[str, Config], folder: str) -> None:
    """Let all runs start from the same weights, which decide how many proposals a step has; changes the configs.

    Args:
        configs: Name of each run to its config; the detector is that of ``plain``.
        folder: Where the weights are saved.
    """
    plain = configs['plain']
    init_default_scope(plain.default_scope)
    # The initialisation logs every parameter.
    MMLogger.get_instance('start', log_level='ERROR')
    torch.manual_seed(0)
    detector = MODELS.build(copy.deepcopy(plain.model))
    detector.init_weights()
    path = str(Path(folder) / 'start.pth')
    torch.save({'state_dict': detector.state_dict()}, path)
    for config in configs.values():
        config.load_from = path


def held_parameters(runner: Any) -> int:
    """Return the number of parameters that a run holds, those of its teachers included."""
    hook = distill_hook(runner)
    models = [runner.model, *([teacher.model for teacher in hook.teachers.values()] if hook is not None else [])]
    return sum({id(one): one.numel() for model in models for one in model.parameters()}.values())


def rows(costs: Mapping[str, Cost], parameters: Mapping[str, int]) -> list[list[str]]:
    """Return the table's rows: times, memory and parameters of each run; times and memory also relative to plain."""
    base = costs['plain']
    table = []
    for name, cost in costs.items():
        times = [f'{statistics.median(cost.seconds):.3f}', f'{median_ratio(cost.seconds, base.seconds):.3f}']
        times += [f'{statistics.median(cost.processor_seconds):.3f}']
        times += [f'{median_ratio(cost.processor_seconds, base.processor_seconds):.3f}']
        memory = [f'{cost.peak_bytes / 2**20:.1f}', f'{cost.peak_bytes / base.peak_bytes:.3f}']
        table.append([NAMES[name], *times, *memory, f'{parameters[name] / 1e6:.1f}'])
    return table


def run(args: Namespace) -> dict[str, Any]:
    """Build the five runs, measure and print."""
    with ExitStack() as stack:
        configs = arms(args)
        start_together(configs, stack.enter_context(TemporaryDirectory(prefix='kd_plugins_')))
        runners = {name: stack.enter_context(temporary_runner(arm, False))[0] for name, arm in configs.items()}
        costs = interleave(runners, args.steps, args.warmup)
        parameters = {name: held_parameters(runner) for name, runner in runners.items()}
    device = 'CUDA' if has_accelerator() else 'CPU'
    height, width = args.size
    title = f'{args.steps} interleaved steps, {args.labelled} labelled and {args.unlabelled} unlabelled images'
    headers = ['what', 'step (s)', 'relative', 'processor (s)', 'relative', 'peak memory (MiB)', 'relative']
    headers.append('parameters (million)')
    print_table(f'{title} of {width}x{height} ({device})', headers, rows(costs, parameters))
    print()
    ratios = {}
    for name in ('semi_base', 'soft_teacher'):
        theirs = costs[name]
        for own in ('ours', 'view'):
            time = median_ratio(costs[own].seconds, theirs.seconds)
            processor = median_ratio(costs[own].processor_seconds, theirs.processor_seconds)
            memory = costs[own].peak_bytes / theirs.peak_bytes
            ratios[f'{own}/{name}'] = dict(time=time, processor_time=processor, memory=memory)
            values = f'{time:.3f} in time, {processor:.3f} in processor time, {memory:.3f} in memory'
            print(f'{NAMES[own]} against {NAMES[name]}: {values}')
    return {'costs': {name: asdict(cost) for name, cost in costs.items()}, 'parameters': parameters, 'ratios': ratios}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    return benchmark.main(parser(), run, arguments, check)


if __name__ == '__main__':
    sys.exit(main())
