"""Show what every level of a network predicts: ``kd_plugins show levels CONFIG CHECKPOINT``.

The config has a DualSelfDistiller, and the checkpoint is one to resume from, which holds its heads. For an image, one
row for the output and one for each branch; for a volume, three slices of a window of the inferer's size.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor

from ..checkpoints import load_checkpoint
from ..config.data_checks import check_data
from ..config.distillers import build_distiller
from ..config.loading import load_config
from ..errors import ConfigError
from ..runner.weights import load_trained
from ..utils.cli import add_cfg_options, one_sentence, parse
from ..visualization import draw_levels, level_panels, level_predictions
from ..visualization.level_predictions import foreground_center, window
from ..visualization.pictures import FORMATS, check_picture_name, save_picture

IGNORED = -1


def parser() -> ArgumentParser:
    """Return the parser."""
    found = ArgumentParser(
        prog='kd_plugins show levels', description='Draw the prediction of each level beside the ground truth'
    )
    found.add_argument('config', help='config file with a DualSelfDistiller, or package::path')
    found.add_argument('checkpoint', help='checkpoint to resume from, such as epoch_20.pth')
    found.add_argument('--index', type=int, default=0, help="which sample of the config's test data")
    found.add_argument('--split', choices=['test', 'val'], default='test', help='which data')
    found.add_argument('--distiller', help='name of the distiller, where there are several')
    found.add_argument('--out', default='levels.png', help=f'picture to write; ends in {", ".join(FORMATS)}')
    found.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1, ...')
    add_cfg_options(found)
    return found


def read_sample(config: Config, args: Namespace) -> dict[str, Any]:
    """Return one sample as its pipeline packs it, as a batch.

    Raises:
        ConfigError: If there is no such sample.
    """
    loader = f'{args.split}_dataloader'
    if config.get(loader) is None:
        raise ConfigError(f"config: '{config.filename}' has no '{loader}'; inherit one that has")
    check_data(config, (loader,))
    dataset = DATASETS.build(config[loader].dataset)
    if not 0 <= args.index < len(dataset):
        raise ConfigError(f'--index: {args.index} does not exist; valid: 0 to {len(dataset) - 1}')
    batch: dict[str, Any] = pseudo_collate([dataset[args.index]])
    return batch


def truth_on_grid(sample: Any, size: tuple[int, ...]) -> Tensor:
    """Return the labels (*spatial) of a data sample on the grid of the network's input.

    Raises:
        ConfigError: If the sample has none.
    """
    if 'gt_sem_seg' not in sample:
        raise ConfigError('the sample has no labels (gt_sem_seg); its pipeline must load and pack them')
    truth = sample.gt_sem_seg
    if len(size) == 3 and 'affine' in truth:
        from kd_plugins.evaluation import resample_labels

        return resample_labels(truth.data.cpu(), truth.affine, sample.affine, size)[0]
    labels = truth.data.cpu()
    if tuple(labels.shape[1:]) != size:
        labels = F.interpolate(labels[None].double(), size, mode='nearest')[0].long()
    return labels[0]


def prepare(model: Any, batch: dict[str, Any], ignored: int) -> tuple[Tensor, Tensor]:
    """Return the input (1, C, *spatial) and the labels (*spatial), negative where they do not count.

    A volume is cut to the inferer's window around its foreground, since a network need not take any size.
    """
    data = model.data_preprocessor(batch, False)
    inputs, sample = data['inputs'][0], data['data_samples'][0]
    truth = truth_on_grid(sample, tuple(inputs.shape[1:]))
    size = getattr(getattr(model, 'inferer', None), 'roi_size', None)
    if inputs.ndim == 4 and size is not None:
        center = foreground_center(np.where(truth.numpy() == ignored, 0, truth.numpy()))
        size = (size,) * 3 if isinstance(size, int) else tuple(size)
        inputs, truth = window(inputs, size, center), window(truth, size, center, fill=ignored)
    return inputs[None], torch.where(truth == ignored, IGNORED, truth)


def picture(config: Config, args: Namespace) -> Any:
    """Return the figure of one sample."""
    init_default_scope(config.get('default_scope') or 'mmengine')
    name, distiller = build_distiller(config, 'DualSelfDistiller', args.distiller)
    batch = read_sample(config, args)
    model = MODELS.build(config.model)
    load_trained(model, args.checkpoint, args.device)
    distiller.check_models(model, model)
    assert distiller.ignore_index is not None and distiller.num_classes is not None
    inputs, truth = prepare(model, batch, distiller.ignore_index)
    predictions = level_predictions(model, distiller, inputs, (name, load_checkpoint(args.checkpoint), args.checkpoint))
    image = inputs[0].float().mean(dim=0).cpu().numpy()
    return draw_levels(image, level_panels(predictions, truth.numpy(), distiller.num_classes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        check_picture_name(args.out)
        figure = picture(load_config(args.config, args.cfg_options), args)
        save_picture(figure, args.out)
        print(args.out)
    return 0
