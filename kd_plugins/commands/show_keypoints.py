"""Show what a pose estimator says of a person: ``kd_plugins show keypoints CONFIG CHECKPOINT``.

Draws ground truth, teacher and student side by side, and the distributions of the joints where they differ most.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from ..config.data_checks import check_data
from ..config.loading import load_config
from ..errors import ConfigError
from ..runner.weights import load_trained
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..visualization import compare_keypoints, draw_keypoints
from ..visualization.pictures import FORMATS, check_picture_name, read_image, save_picture


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(
        prog='kd_plugins show keypoints',
        description='Draw ground truth, teacher and student of a person, and what they are sure of',
    )
    found.add_argument('config', help='config file of a top-down pose estimator, or package::path')
    found.add_argument('checkpoint', help='checkpoint file, or a URL')
    found.add_argument('--teacher', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='the same of the teacher')
    person = found.add_mutually_exclusive_group()
    person.add_argument('--index', type=int, default=0, help="which person of the config's test data")
    person.add_argument('--image', metavar='FILE', help='an image in place of the test data')
    found.add_argument(
        '--bbox', type=float, nargs=4, metavar=('X1', 'Y1', 'X2', 'Y2'), help='the person in --image; default all of it'
    )
    found.add_argument('--joints', nargs='+', metavar='JOINT', help='numbers or names; default where both differ most')
    found.add_argument('--top', type=int, default=3, help='how many joints without --joints')
    found.add_argument('--out', default='keypoints.png', help=f'picture to write; ends in {", ".join(FORMATS)}')
    found.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1, ...')
    add_cfg_options(found)
    return found


def check_arguments(args: Namespace) -> None:
    """Refuse what could not be drawn or written, before a model is built.

    Raises:
        ConfigError: Naming the argument.
    """
    check_picture_name(args.out)
    if args.top < 1:
        raise ConfigError(f'--top: {args.top} joints cannot be drawn; nearest: 1')
    if args.bbox is not None:
        if args.image is None:
            raise ConfigError('--bbox: the test data has boxes of its own; give --image with it')
        x1, y1, x2, y2 = args.bbox
        if not (x1 < x2 and y1 < y2):
            raise ConfigError(f'--bbox: {x1:g} {y1:g} {x2:g} {y2:g} is empty; give x1 y1 x2 y2 with x1 < x2, y1 < y2')


def build_estimator(config: Config, checkpoint: str, device: str) -> nn.Module:
    """Return a model that holds the weights of a checkpoint.

    Raises:
        ConfigError: If the config has no model, or the device cannot be used.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    if config.get('model') is None:
        raise ConfigError(f"config: '{config.filename}' has no 'model'; inherit one that has")
    init_default_scope(config.get('default_scope') or 'mmengine')
    model = MODELS.build(config.model)
    load_trained(model, checkpoint, device)
    return model


def read_sample(config: Config, args: Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one person as the test pipeline packs it, and the data set's ``metainfo``.

    Raises:
        ConfigError: If there is no such person, or the config names no joints.
    """
    init_default_scope(config.get('default_scope') or 'mmengine')
    if config.get('test_dataloader') is None:
        raise ConfigError(f"config: '{config.filename}' has no 'test_dataloader'; inherit one that has")
    dataset_config = config.test_dataloader.dataset
    if args.image is None:
        check_data(config, ('test_dataloader',))
        if dataset_config.get('bbox_file') is not None:
            dataset_config.bbox_file = None  # detected boxes have no annotated joints
        dataset = DATASETS.build(dataset_config)
        if not 0 <= args.index < len(dataset):
            raise ConfigError(f'--index: {args.index} does not exist; valid: 0 to {len(dataset) - 1}')
        return dataset[args.index], dataset.metainfo
    from mmpose.apis.inference import dataset_meta_from_config

    metainfo = dataset_meta_from_config(config, 'test')
    if not metainfo:
        raise ConfigError('test_dataloader.dataset.metainfo: the joints have no names; give the metainfo of the data')
    height, width = read_image(args.image, '--image').shape[:2]
    box = np.array([args.bbox or [0.0, 0.0, width, height]], np.float32)
    person = dict(img_path=args.image, bbox=box, bbox_score=np.ones(1, np.float32), **metainfo)
    return Compose(dataset_config.pipeline)(person), metainfo


def picture(config: Config, args: Namespace) -> Any:
    """Return the figure of one person."""
    sample, metainfo = read_sample(config, args)
    student, teacher = build_estimator(config, args.checkpoint, args.device), None
    if args.teacher:
        teacher = build_estimator(load_config(args.teacher[0]), args.teacher[1], args.device)
    return draw_keypoints(compare_keypoints(student, sample, metainfo, teacher, args.joints, args.top))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        check_arguments(args)
        figure = picture(load_config(args.config, args.cfg_options), args)
        save_picture(figure, args.out)
        print(args.out)
    return 0
