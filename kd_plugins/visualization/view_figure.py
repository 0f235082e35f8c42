"""Figure of training images as the teacher sees them and as the student sees them through its view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import init_default_scope
from torch import Tensor

from ..config.data_checks import check_data
from ..config.distillers import build_distiller
from ..config.hook_entries import distill_entry
from ..datasets.position_stream import PositionStream, seeded
from ..errors import ConfigError
from ..hooks.student_view import build_views
from ..ops.normalisation import read_normalisation
from ..ops.rectangles import picture_sizes
from ..utils.figures import new_figure
from ..utils.rng import position_seed
from .confidence import teacher_confidence
from .loading import build_trained, check_keys, teacher_model
from .pictures import Array

HOOK = 'default_hooks.distill'
PANEL = 3.0
"""Width of a picture in inches."""


def view_figure(
    config: Config,
    count: int = 4,
    seed: int = 0,
    checkpoint: str | None = None,
    distiller: str | None = None,
    device: str = 'cpu',
) -> Any:
    """Return the figure of some images: for each view, a row for the teacher and a row for the student.

    Where the view exchanges parts of images, the row ``target`` shows the teacher's images with the parts exchanged in
    the same way, as the hook does with the teacher's outputs. With a checkpoint, a further row shows how confident its
    network is on the teacher's images, exchanged likewise.

    Args:
        config: A config whose DistillHook has a ``student_view``.
        count: Number of images of each view.
        seed: Seed of the images, of their augmentation and of the view.
        checkpoint: Weights of the network that teaches; of an average, where the config saves the average.
        distiller: Name of the LogitDistiller whose class scores are drawn, if the config has several.
        device: Device that the network runs on.

    Raises:
        ConfigError: If the config has no view, no images for it or, with a checkpoint, no LogitDistiller.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    init_default_scope(config.get('default_scope') or 'mmengine')
    check_keys(config, 'model')
    views = build_views((distill_entry(config) or {}).get('student_view') or None)
    if not views:
        raise ConfigError(
            f"{HOOK} has no student_view; give a config that has student_view=dict(type='kd_plugins.PhotometricView')"
        )
    confidence = None if checkpoint is None else confidence_of(config, checkpoint, distiller, device)
    preprocessor = MMENGINE_MODELS.build(config.model.get('data_preprocessor') or dict(type='BaseDataPreprocessor'))
    rows: dict[str, list[Array]] = {}
    for images, view in views.items():
        view.bind(preprocessor)
        with seeded(position_seed(seed, 'preprocessor')):  # it may resize batches at random
            data = preprocessor(read_batch(config, images, count, seed), True)
        inputs, samples = data['inputs'], data.get('data_samples')
        drawn = position_seed(seed, 'view', images)
        seen = {'teacher': inputs, 'student': view(inputs, samples, drawn)}
        if view.mixes:
            seen['target'] = view.mix(inputs, inputs, samples, drawn)
        normalisation = read_normalisation(preprocessor, getattr(view, 'channel_order', 'auto'), view.key)
        sizes = picture_sizes(inputs, samples).tolist()
        for title, shown in seen.items():
            rows[f'{images}, {title}'] = [
                picture[:, :height, :width].permute(1, 2, 0).numpy()
                for picture, (height, width) in zip(normalisation.undo(shown).clamp(0, 1), sizes)
            ]
        if confidence is not None:
            levels = view.mix(confidence(inputs)[:, None], inputs, samples, drawn)[:, 0]
            rows[f'{images}, confidence'] = [
                level[:height, :width].numpy() for level, (height, width) in zip(levels, sizes)
            ]
    return draw_views(rows)


def confidence_of(config: Config, checkpoint: str, distiller: str | None, device: str) -> Callable[[Tensor], Tensor]:
    """Return the function from preprocessed images (B, C, H, W) to a trained network's confidence (B, H, W).

    Args:
        config: A config with a LogitDistiller.
        checkpoint: Weights of the network.
        distiller: Name of the distiller, if the config has several.
        device: Device that the network runs on.

    Raises:
        ConfigError: If the config has no such distiller.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    _, built = build_distiller(config, 'LogitDistiller', distiller)
    other = teacher_model(config, built)
    model, _ = build_trained(config, checkpoint, device, other)
    # A distiller compares two networks.
    built.check_models(deepcopy(model) if other is None else MMENGINE_MODELS.build(config.model), model)
    return lambda inputs: teacher_confidence(model, built, inputs.to(device)).cpu()


def read_batch(config: Config, images: str, count: int, seed: int) -> Any:
    """Return images that a view changes; training images stand for unlabelled ones where the config has none.

    Args:
        config: The resolved config.
        images: ``'labelled'`` or ``'unlabelled'``.
        count: Number of images.
        seed: Seed of the images and of their augmentation.

    Raises:
        ConfigError: If they cannot be read.
    """
    unlabelled = (distill_entry(config) or {}).get('unlabelled') or {}
    loader, key = unlabelled.get('dataloader'), f'{HOOK}.unlabelled.dataloader'
    if loader is None or images == 'labelled':
        check_keys(config, 'train_dataloader')
        check_data(config, ('train_dataloader',))
        loader, key = config.train_dataloader, 'train_dataloader'
    if not isinstance(loader, Mapping):
        raise ConfigError(f'{key} is no dict; give dict(batch_size=..., dataset=...)')
    settings = {name: loader[name] for name in ('dataset', 'collate_fn') if name in loader}
    return PositionStream(dict(batch_size=count, **settings), seed, rank=0, world_size=1, key=key).batch(0)


def draw_views(rows: dict[str, list[Array]]) -> Any:
    """Draw rows of pictures.

    Args:
        rows: Title of each row to its pictures (H, W, C) in [0, 1], with one or three channels, or to maps (H, W) of
            values in [0, 1]; equally many in each row.

    Raises:
        ConfigError: If the pictures have another number of channels.
        MissingDependencyError: If matplotlib is not installed.
    """
    first = next(iter(rows.values()))
    channels = first[0].shape[2]
    if channels not in (1, 3):
        raise ConfigError(f'model: the images have {channels} channels; show views draws images of 1 or 3')
    height = PANEL * max(picture.shape[0] / picture.shape[1] for picture in first)
    figure = new_figure(PANEL * len(first), (height + 0.3) * len(rows))
    grid = figure.subplots(len(rows), len(first), squeeze=False)
    for line, (title, pictures) in zip(grid, rows.items()):
        for axes, picture in zip(line, pictures):
            axes.imshow(picture, cmap='gray' if picture.ndim == 3 else 'viridis', vmin=0, vmax=1)
            axes.set_title(title)
            axes.set_axis_off()
    return figure
