"""Figure of the objects of an image and of the embeddings that paint its instructive maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from ..checkpoints import load_checkpoint
from ..config.distillers import build_distiller
from ..distillers import Batch
from ..errors import ConfigError
from ..utils.figures import new_figure
from .level_predictions import load_heads
from .loading import build_trained, check_keys, read_sample
from .pictures import Array

PANEL = 3.2
"""Width of a panel in inches."""
CONTEXT = (0.45, 0.45, 0.45)
"""Colour of the image as an object."""


class GuideLevel(NamedTuple):
    """Shares of the objects in the instructive map of one level.

    Attributes:
        owner: Object whose embedding has the largest share in each cell, (H, W), -1 where no object is.
        share: That share, from 0 to 1, (H, W).
        mixed: Share of each object's embedding (column) in what is painted for each object (row), (G, G).
        cells: Which cells each object has, (G, H, W).
    """

    owner: Array
    share: Array
    mixed: Array
    cells: Array


def guide_level(mixed: Tensor, cells: Tensor, real: Tensor) -> GuideLevel:
    r"""Return what paints the cells of one image at one level.

    Objects that overlap are averaged, so the share of embedding k in cell p is
    :math:`\sum_j M_{jp} \, s_{jk} / \sum_j M_{jp}` over the objects of the ground truth.

    Args:
        mixed: Shares :math:`s`, (G, G).
        cells: :math:`M`, (G, H, W).
        real: Which objects are of the ground truth, (G,).

    >>> mixed, cells = torch.tensor([[0.5, 0.5], [0.75, 0.25]]), torch.ones(2, 1, 1)
    >>> level = guide_level(mixed, cells, torch.tensor([False, True]))
    >>> level.owner.tolist(), level.share.tolist()
    ([[0]], [[0.75]])
    """
    own = cells * real[:, None, None]
    count = own.sum(dim=0)
    shares = torch.einsum('jk,jhw->khw', mixed, own) / count.clamp(min=1.0)
    share, owner = shares.max(dim=0)
    owner = owner.masked_fill(count == 0, -1)
    return GuideLevel(*(one.cpu().numpy() for one in (owner, share, mixed, cells)))


def guide_figure(
    config: Config,
    checkpoint: str | None = None,
    index: int = 0,
    levels: Sequence[int] | None = None,
    name: str | None = None,
    device: str = 'cpu',
) -> Any:
    """Return the figure of one training image.

    Args:
        config: A config with a LabelGuidedDistiller.
        checkpoint: A checkpoint to resume from, which holds the instructor; without one, its weights are random.
        index: Index of the image in the training data.
        levels: Levels to draw; by default all.
        name: Name of the distiller, if the config has several.
        device: Device to run on.

    Raises:
        ConfigError: If the config has no such distiller, the image or level does not exist, or it has no objects.
        CheckpointError: If the checkpoint holds no weights for the model or the instructor.
    """
    init_default_scope(config.get('default_scope') or 'mmengine')
    check_keys(config, 'model', 'train_dataloader')
    name, distiller = build_distiller(config, 'LabelGuidedDistiller', name)
    sample, dataset = read_sample(config, 'train_dataloader', index)
    model = _model(config, checkpoint, device)
    data = model.data_preprocessor(pseudo_collate([sample]), True)
    batch = Batch(data['inputs'], data['data_samples'])
    distiller.check_models(model, model)
    with torch.no_grad():
        outputs = {'maps': list(model.extract_feat(batch.inputs))}
        distiller.initialize(outputs, {})
        if checkpoint is not None:
            load_heads(distiller, name, load_checkpoint(checkpoint), checkpoint)
        objects, explained = distiller.explained(outputs, batch)
    chosen = range(len(explained)) if levels is None else levels
    wrong = next((level for level in chosen if not 0 <= level < len(explained)), None)
    if wrong is not None:
        raise ConfigError(f'--level: {wrong} does not exist; valid: 0 to {len(explained) - 1}')
    valid = objects.valid[0]
    if not valid.any():
        raise ConfigError(f'--index: image {index} has no objects; give one that has')
    parts = {
        level: guide_level(mixed[0][valid][:, valid], cells[0][valid], objects.real[0][valid])
        for level, (mixed, cells) in enumerate(explained)
        if level in chosen
    }
    titles = object_names(objects.labels[0][valid].tolist(), getattr(dataset, 'metainfo', None) or {})
    return draw_guide(_picture(batch.inputs[0]), parts, titles)


def _model(config: Config, checkpoint: str | None, device: str) -> Any:
    """Return the model in eval mode, with the weights of a checkpoint or its first ones."""
    if checkpoint is not None:
        return build_trained(config, checkpoint, device)[0]
    built: nn.Module = MODELS.build(config.model)
    return built.to(device).eval()


def _picture(image: Tensor) -> Array:
    """Return a preprocessed image (C, H, W) as grey levels from 0 to 1, (H, W)."""
    grey = image.float().mean(dim=0)
    low, high = grey.amin(), grey.amax()
    picture: Array = ((grey - low) / (high - low).clamp(min=1e-6)).cpu().numpy()
    return picture


def object_names(labels: Sequence[int], metainfo: Any) -> list[str]:
    """Return the names of objects: number and class or joint, ``'image'`` for the context.

    Args:
        labels: Class or joint of each object, -1 for the context.
        metainfo: Metadata of the data set, with ``classes`` or ``keypoint_id2name``.

    >>> object_names([-1, 1, 1, 7], dict(classes=('red', 'white')))
    ['image', '1 white', '2 white', '3 class 7']
    """
    joints = dict(metainfo.get('keypoint_id2name') or {})
    known = joints or dict(enumerate(metainfo.get('classes') or ()))
    first = int(bool(labels) and labels[0] >= 0)
    return [
        'image' if label < 0 else f'{number} {known.get(label, f"class {label}")}'
        for number, label in enumerate(labels, start=first)
    ]


def draw_guide(image: Array, levels: dict[int, GuideLevel], titles: Sequence[str]) -> Any:
    """Draw for each level the objects on the image, the embedding that owns each cell, and the attention.

    Args:
        image: Grey levels, (H, W).
        levels: Number of each level and what paints its map.
        titles: Name of each object.

    Returns:
        A ``matplotlib.figure.Figure`` with a row of three panels for each level.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    height = PANEL * image.shape[0] / image.shape[1]
    figure = new_figure(3 * PANEL + 1.5, max(height, PANEL) * max(len(levels), 1))
    axes = figure.subplots(len(levels), 3, squeeze=False)
    colors = _colors(titles)
    extent = (0, image.shape[1], image.shape[0], 0)
    for (on_image, owners, table), (number, level) in zip(axes, levels.items()):
        on_image.imshow(image, cmap='gray', extent=extent)
        # Cells as pixels of the image, so that a border follows their edges.
        rows, columns = (
            (np.arange(side) * cells) // side for side, cells in zip(image.shape, level.owner.shape, strict=True)
        )
        for title, color, cells in zip(titles, colors, level.cells):
            pixels = cells[rows][:, columns]
            if title != 'image' and pixels.any():
                y, x = np.argwhere(pixels > 0).mean(axis=0)
                on_image.text(x, y, title.split()[0], color=color, ha='center', va='center')
                if not pixels.all():
                    on_image.contour(pixels, levels=[0.5], colors=[color], linewidths=1.0)
        painted = np.ones((*level.owner.shape, 4))
        for index, color in enumerate(colors):
            painted[level.owner == index, :3] = color[:3]
        painted[..., 3] = np.where(level.owner < 0, 0.0, level.share / max(float(level.share.max()), 1e-6))
        owners.imshow(painted, extent=extent, interpolation='nearest')
        on_image.set_title(f'level {number}: objects', fontsize=9)
        owners.set_title('embedding with the largest share', fontsize=9)
        for panel in (on_image, owners):
            panel.set_xlim(0, image.shape[1])
            panel.set_ylim(image.shape[0], 0)
            panel.set_xticks([])
            panel.set_yticks([])
        highest = float(level.mixed.max())
        table.imshow(level.mixed, vmin=0.0, vmax=highest, cmap='viridis', aspect='auto')
        table.set_title(f'share of each embedding, up to {highest:.2f}', fontsize=9)
        table.set_xticks(range(len(titles)), titles, rotation=90, fontsize=6)
        table.set_yticks(range(len(titles)), titles, fontsize=6)
        table.set_ylabel('painted for', fontsize=8)
    return figure


def _colors(titles: Sequence[str]) -> list[tuple[float, ...]]:
    """Return a colour for each object."""
    from matplotlib import colormaps

    wheel = colormaps['hsv'](np.linspace(0.0, 0.9, max(len(titles), 1)))
    return [CONTEXT if title == 'image' else tuple(color[:3]) for title, color in zip(titles, wheel)]
