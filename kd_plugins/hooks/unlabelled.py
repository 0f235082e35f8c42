"""Unlabelled images of a run: their settings, their weight and the stream that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..datasets.position_stream import PositionStream, check_settings
from ..distillers.base import BaseDistiller
from ..errors import ConfigError, KDPluginsError, nearest
from ..pseudo_labels import PseudoLabels
from ..registry import MODELS
from ..schedules import build_schedule
from ..teachers.collection import resolve_source
from ..utils.argument_types import shown
from ..utils.build import build, first_line
from ..utils.calls import ForwardCall
from ..utils.checks import check_choice
from ..utils.data_errors import data_sentence
from ..utils.rng import position_seed
from ..utils.sample_batch import draw_batch
from .statistics import SeparateStatistics
from .student_view import KEY as VIEW_KEY
from .student_view import Views

KEY = 'unlabelled'
HOOK_KEY = f'default_hooks.distill.{KEY}'
SETTINGS = ('dataloader', 'pseudo', 'statistics', 'weight')
STATISTICS = ('labelled', 'both')
"""Images that move the running statistics of the student's BatchNorm layers."""
PSEUDO = 'pseudo'
"""Name of the terms that are losses on pseudo labels, in place of a distiller's name."""
SHIFT = f'{KEY}.statistics'
"""Name of the monitored statistics in the log, which no distiller can have."""


class Unlabelled:
    """Unlabelled images of a run.

    Args:
        settings: ``dict(dataloader=..., weight=1.0, statistics='labelled', pseudo=None)``. ``dataloader`` is that of a
            :class:`~kd_plugins.datasets.position_stream.PositionStream`. ``weight`` is a number or schedule, the factor
            on all terms of unlabelled images. With ``statistics='labelled'`` the running statistics of BatchNorm layers
            are those of labelled images alone; with ``'both'`` unlabelled images move them as well. ``pseudo`` is the
            config of pseudo labels, with ``source`` as in a distiller.

    Raises:
        ConfigError: If a setting is unknown or does not fit.
    """

    def __init__(self, settings: Any) -> None:
        example = "dict(dataloader=dict(batch_size=8, dataset=dict(type='kd_plugins.ImageFolder', ...)))"
        if not isinstance(settings, Mapping):
            raise ConfigError(f'{HOOK_KEY} is {shown(settings)}; give {example}')
        for name in settings:
            if name not in SETTINGS:
                raise ConfigError(f'{HOOK_KEY} has no setting {shown(name)}; {nearest(name, SETTINGS, 4)}')
        if 'dataloader' not in settings:
            raise ConfigError(f'{HOOK_KEY} has no dataloader; give {example}')
        self.dataloader = settings['dataloader']
        check_settings(self.dataloader, f'{KEY}.dataloader')
        self.schedule = build_schedule(settings.get('weight', 1.0), f'{KEY}.weight')
        self.statistics = check_choice(f'{KEY}.statistics', settings.get('statistics', STATISTICS[0]), STATISTICS)
        self.pseudo, self.source = _build_pseudo(settings.get('pseudo'))
        self.stream: PositionStream | None = None
        self.weight = 0.0
        """Factor in this iteration."""
        self.batch: Any = None
        """Batch of this iteration as the loader gives it, ``None`` where the student has no pass over it."""
        self.call: ForwardCall | None = None
        """The batch after the preprocessor, from the first pass of this iteration on."""
        self.labels: Any = None
        """Pseudo labels of the batch, likewise."""
        self.separate = SeparateStatistics()

    @property
    def used(self) -> bool:
        """Whether the weight can rise above 0. Otherwise no image is read."""
        return self.schedule.value > 0

    def pseudo_teacher(self, teachers: Mapping[str, Any]) -> str | None:
        """Return the name of the teacher that predicts the pseudo labels, ``None`` without pseudo labels.

        Args:
            teachers: Name to teacher.

        Raises:
            ConfigError: If there is no such teacher.
        """
        if self.pseudo is None:
            return None
        name = resolve_source(self.source, f'{KEY}.{PSEUDO}', teachers)
        if name is None:
            raise ConfigError(
                f"{KEY}.{PSEUDO}: the student has no teacher that predicts labels; give teacher=dict(type='"
                "kd_plugins.EMATeacher')"
            )
        if not teachers[name].predicts:
            raise ConfigError(
                f'{KEY}.{PSEUDO}: {type(teachers[name]).__name__} has no head and predicts no labels; name another '
                "teacher as source, such as dict(type='kd_plugins.EMATeacher')"
            )
        return name

    def open(self, seed: int) -> None:
        """Build the data set. No image is read.

        Args:
            seed: Seed of the run, the same on all ranks and after a resume.

        Raises:
            ConfigError: If the data set cannot be built.
        """
        self.close()
        self.stream = PositionStream(self.dataloader, seed, key=f'{KEY}.dataloader')

    def close(self) -> None:
        """Stop the workers of the loader and drop the batch."""
        if self.stream is not None:
            self.stream.close()
        self.stream, self.weight = None, 0.0
        self.forget()
        self.separate = SeparateStatistics()

    def forget(self) -> None:
        """Drop the batch and what was made of it."""
        self.batch = self.call = self.labels = None

    def seed(self, iteration: int) -> int:
        """Return the seed of the pass of this rank in an iteration."""
        assert self.stream is not None
        return position_seed(self.stream.seed, 'pass', iteration, self.stream.rank)

    def fetch(self, iteration: int) -> None:
        """Read the batch of an iteration.

        Args:
            iteration: 0-based iteration.

        Raises:
            ConfigError: If an image cannot be read.
        """
        assert self.stream is not None
        self.forget()
        try:
            self.batch = self.stream.batch(iteration)
        except KDPluginsError as error:
            raise ConfigError(_prefixed(str(error))) from error
        # A data set may raise anything.
        except Exception as error:
            sentence = data_sentence(error) or f'{type(error).__name__}: {first_line(error)}'
            raise ConfigError(_prefixed(sentence)) from error

    def draw(self) -> None:
        """Read a batch of one or two images in another process, for the pass before training.

        Raises:
            NoSampleError: If none can be drawn.
        """
        assert self.stream is not None
        self.forget()
        self.batch = draw_batch(self.stream.sample_loader())

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the pseudo labels; the stream has none."""
        return {} if self.pseudo is None else self.pseudo.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the pseudo labels."""
        if self.pseudo is not None and state:
            self.pseudo.load_state_dict(state)


def _prefixed(sentence: str) -> str:
    key = f'{KEY}.dataloader'
    return sentence if sentence.startswith(key) else f'{key}: {sentence}'


def _build_pseudo(config: Any) -> tuple[PseudoLabels | None, str]:
    """Return the pseudo labels of a config, or ``None``, and the source of the predictions."""
    key = f'{KEY}.{PSEUDO}'
    if config is None:
        return None, 'auto'
    if not isinstance(config, Mapping):
        return build(MODELS, config, PseudoLabels, key), 'auto'
    settings = dict(config)
    source = settings.pop('source', 'auto')
    if not isinstance(source, str):
        raise ConfigError(f"{key}.source is {shown(source)}; valid: 'auto', or the name of a teacher")
    return build(MODELS, settings, PseudoLabels, key), source


def check_use(distillers: Mapping[str, BaseDistiller], unlabelled: Unlabelled | None, views: Views) -> None:
    """Refuse a hook in which unlabelled images, or what is meant for them, would have no effect.

    Args:
        distillers: Name to distiller.
        unlabelled: The unlabelled images, or ``None``.
        views: Images to their view.

    Raises:
        ConfigError: Naming the setting without effect.
    """
    taught = [one for one in distillers.values() if one.on == KEY]
    if unlabelled is None:
        keys = [f"{one.key}.on is '{KEY}'" for one in taught]
        if KEY in views:
            keys.append(f"{VIEW_KEY}.on holds '{KEY}'" if views[KEY].key == VIEW_KEY else f'{views[KEY].key} is a view')
        if keys:
            raise ConfigError(
                f"{keys[0]}, but {HOOK_KEY} is None; give {KEY}=dict(dataloader=...), or leave '{KEY}' out"
            )
        return
    if unlabelled.pseudo is None and not taught:
        first = next(iter(distillers), 'NAME')
        raise ConfigError(
            f"{HOOK_KEY}: no distiller has on='{KEY}' and {KEY}.{PSEUDO} is None, so the images would teach nothing; "
            f"nearest: distillers.{first}.on='{KEY}'"
        )
    for one in taught:
        # With pseudo labels, those are what the distillers find in the data samples.
        if one.needs_labels is not None and unlabelled.pseudo is None:
            raise ConfigError(f"{one.key}.on is '{KEY}', and {one.needs_labels}")
    view = views.get(KEY)
    if view is not None and view.mixes:
        kind = type(view).__name__
        if unlabelled.pseudo is not None:
            raise ConfigError(
                f'{KEY}.{PSEUDO}: {kind} mixes maps of the teacher and no labels; give pseudo=None, or '
                f"{view.key}.type='kd_plugins.PhotometricView'"
            )
        if isinstance(unlabelled.dataloader, Mapping) and unlabelled.dataloader.get('batch_size') == 1:
            raise ConfigError(
                f'{KEY}.dataloader.batch_size is 1, and {kind} mixes the images of a batch; give at least 2, or '
                f"{view.key}.type='kd_plugins.PhotometricView'"
            )
    if unlabelled.pseudo is not None and PSEUDO in distillers:
        raise ConfigError(
            f"distillers: the name '{PSEUDO}' is that of the losses on pseudo labels; use '{PSEUDO}_labels'"
        )


def check_student(student: nn.Module, unlabelled: Unlabelled) -> None:
    """Refuse a detector that cannot run on images without labels in training.

    MMDetection's DETRs with encoder proposals return more from their transformer, in training, than the head's
    ``forward`` takes.

    Args:
        student: The student.
        unlabelled: The unlabelled images.

    Raises:
        ConfigError: If the student needs pseudo labels.
    """
    if unlabelled.pseudo is not None:
        return
    names = {cls.__name__ for cls in type(student).__mro__}
    if 'DeformableDETR' in names:
        raise ConfigError(
            f"{HOOK_KEY}: {type(student).__name__} cannot run with mode='tensor' in training, only with labels; give "
            f"{KEY}.{PSEUDO}=dict(type='kd_plugins.PseudoLabels', score_thr=0.5)"
        )
