"""Figure of training images as the teacher sees them and as the student sees them through its view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import init_default_scope

from ..config.data_checks import check_data
from ..datasets.position_stream import PositionStream, position_seed, seeded
from ..errors import ConfigError
from ..registry import MODELS
from ..utils.build import build
from ..views import BaseView
from ..views.base import picture_sizes
from ..views.normalisation import read_normalisation
from .loading import check_keys
from .pictures import Array, new_figure

HOOK = 'default_hooks.distill'
ROWS = ('teacher', 'student')
PANEL = 3.0
"""Width of a picture in inches."""


def view_figure(config: Config, count: int = 4, seed: int = 0) -> Any:
    """Return the figure of some images: the upper row for the teacher, the lower row for the student.

    Args:
        config: A config whose DistillHook has a ``student_view``.
        count: Number of images.
        seed: Seed of the images, of their augmentation and of the view.

    Raises:
        ConfigError: If the config has no view or no images for it.
    """
    init_default_scope(config.get('default_scope') or 'mmengine')
    view, batch = build_view(config), read_batch(config, count, seed)
    preprocessor = MMENGINE_MODELS.build(config.model.get('data_preprocessor') or dict(type='BaseDataPreprocessor'))
    with seeded(position_seed(seed, 'preprocessor')):  # it may resize batches at random
        data = preprocessor(batch, True)
    inputs, samples = data['inputs'], data.get('data_samples')
    view.bind(preprocessor)
    changed = view(inputs, samples, position_seed(seed, 'view'))
    normalisation = read_normalisation(preprocessor, getattr(view, 'channel_order', 'auto'), view.key)
    sizes = picture_sizes(inputs, samples).tolist()
    pictures = [
        [picture[:, :height, :width].permute(1, 2, 0).numpy() for picture, (height, width) in zip(row, sizes)]
        for row in (normalisation.undo(inputs).clamp(0, 1), normalisation.undo(changed).clamp(0, 1))
    ]
    return draw_views(pictures)


def build_view(config: Config) -> BaseView:
    """Return the student's view of a config.

    Raises:
        ConfigError: If there is none.
    """
    entry = _hook(config).get('student_view')
    if not entry:
        raise ConfigError(
            f"{HOOK} has no student_view; give a config that has student_view=dict(type='kd_plugins.PhotometricView')"
        )
    return build(MODELS, entry, BaseView, 'student_view')


def read_batch(config: Config, count: int, seed: int) -> Any:
    """Return unlabelled images where the view changes them and the config has some, and training images otherwise.

    Raises:
        ConfigError: If they cannot be read.
    """
    check_keys(config, 'model')
    hook = _hook(config)
    passes = hook['student_view'].get('on', ('unlabelled',))
    loader, key = (hook.get('unlabelled') or {}).get('dataloader'), f'{HOOK}.unlabelled.dataloader'
    if loader is None or 'unlabelled' not in passes:
        check_keys(config, 'train_dataloader')
        check_data(config, ('train_dataloader',))
        loader, key = config.train_dataloader, 'train_dataloader'
    if not isinstance(loader, Mapping):
        raise ConfigError(f'{key} is no dict; give dict(batch_size=..., dataset=...)')
    settings = {name: loader[name] for name in ('dataset', 'collate_fn') if name in loader}
    return PositionStream(dict(batch_size=count, **settings), seed, rank=0, world_size=1, key=key).batch(0)


def draw_views(pictures: list[list[Array]]) -> Any:
    """Draw pictures in rows.

    Args:
        pictures: For teacher and student, the pictures (H, W, C) in [0, 1], with one or three channels.

    Raises:
        ConfigError: If the pictures have another number of channels.
        MissingDependencyError: If matplotlib is not installed.
    """
    channels = pictures[0][0].shape[2]
    if channels not in (1, 3):
        raise ConfigError(f'model: the images have {channels} channels; show views draws images of 1 or 3')
    columns = len(pictures[0])
    height = PANEL * max(picture.shape[0] / picture.shape[1] for picture in pictures[0])
    figure = new_figure(PANEL * columns, (height + 0.3) * len(pictures))
    for axes, picture, name in zip(
        figure.subplots(len(pictures), columns, squeeze=False).flat,
        (picture for row in pictures for picture in row),
        (name for name in ROWS for _ in range(columns)),
    ):
        axes.imshow(picture, cmap='gray', vmin=0, vmax=1)
        axes.set_title(name)
        axes.set_axis_off()
    return figure


def _hook(config: Config) -> dict[str, Any]:
    hook: dict[str, Any] = (config.get('default_hooks') or {}).get('distill') or {}
    return hook
