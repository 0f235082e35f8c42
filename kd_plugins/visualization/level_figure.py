"""Figure of the prediction of each level of a segmentation network and of the ground truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor

from ..checkpoints import load_checkpoint
from ..config.distillers import build_distiller
from ..errors import ConfigError
from ..evaluation.grid import resample_labels
from .level_predictions import draw_levels, foreground_center, level_panels, level_predictions, window
from .loading import build_trained, read_sample

IGNORED = -1


def level_figure(
    config: Config,
    checkpoint: str,
    loader: str = 'test_dataloader',
    index: int = 0,
    name: str | None = None,
    device: str = 'cpu',
) -> Any:
    """Return the figure of one sample.

    Args:
        config: A config with a DualSelfDistiller.
        checkpoint: One of its checkpoints to resume from, which holds the heads of the distiller.
        loader: ``'test_dataloader'`` or ``'val_dataloader'``.
        index: Index of the sample.
        name: Name of the distiller, if the config has several.
        device: Device to run on.

    Raises:
        ConfigError: If the config has no such distiller, or the sample does not exist.
        CheckpointError: If the checkpoint holds no weights for the model or the heads.
    """
    init_default_scope(config.get('default_scope') or 'mmengine')
    name, distiller = build_distiller(config, 'DualSelfDistiller', name)
    batch = pseudo_collate([read_sample(config, loader, index)[0]])
    model, _ = build_trained(config, checkpoint, device)
    distiller.check_models(model, model)
    assert distiller.ignore_index is not None and distiller.num_classes is not None
    inputs, truth = network_input(model, batch, distiller.ignore_index)
    predictions = level_predictions(model, distiller, inputs, (name, load_checkpoint(checkpoint), checkpoint))
    image = inputs[0].float().mean(dim=0).cpu().numpy()
    return draw_levels(image, level_panels(predictions, truth.numpy(), distiller.num_classes))


def truth_on_grid(sample: Any, size: tuple[int, ...]) -> Tensor:
    """Return the labels (*spatial) of a data sample on the grid of the network's input.

    Raises:
        ConfigError: If the sample has none.
    """
    if 'gt_sem_seg' not in sample:
        raise ConfigError('the sample has no labels (gt_sem_seg); its pipeline must load and pack them')
    truth = sample.gt_sem_seg
    if len(size) == 3 and 'affine' in truth:
        return resample_labels(truth.data.cpu(), truth.affine, sample.affine, size)[0]
    labels: Tensor = truth.data.cpu()
    if tuple(labels.shape[1:]) != size:
        labels = F.interpolate(labels[None].double(), size, mode='nearest')[0].long()
    return labels[0]


def network_input(model: Any, batch: Any, ignored: int) -> tuple[Tensor, Tensor]:
    """Return the input (1, C, *spatial) and the labels (*spatial), negative for ignored positions.

    A volume is cropped to the inferer's window around its foreground, since a network may not accept every size.
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
