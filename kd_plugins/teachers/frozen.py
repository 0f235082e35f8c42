"""Teacher with fixed weights, from a config and a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope, init_default_scope
from torch import Tensor, nn

from ..checkpoints import load_checkpoint, load_weights
from ..config.pretrained import strip_pretrained
from ..errors import ConfigError, KDPluginsError
from ..ops.normalisation import inner_preprocessor
from ..registry import TASK_UTILS
from ..utils.build import first_line
from ..utils.cli import sentence_of
from ..utils.node_ranks import first_on_node_first
from .begin import Begin
from .classes import class_names
from .fixed import FixedTeacher
from .student_copy import ModelBuilder

PREPROCESSING = {
    'mean': ('mean',),
    'std': ('std',),
    # MMSegmentation has a name of its own.
    'bgr_to_rgb': ('_channel_conversion', 'channel_conversion'),
    'voxel_type': ('voxel_type',),
    'voxel_layer': ('voxel_layer',),
}
"""Setting of a data preprocessor that must be equal in student and teacher, to the attributes that may hold it."""


@TASK_UTILS.register_module()
class FrozenTeacher(FixedTeacher):
    """Trained network as teacher: a larger one, or a finished run of the student's own config (born-again network).

    Args:
        config: A config file, ``package::path``, or the config itself; only its ``model`` is built.
        checkpoint: Path or URL of its weights, read with ``weights_only=True``; one rank of each machine downloads.
            ``None`` keeps initial weights drawn from ``seed``, the same on every rank and after a resume: the
            random-teacher control of an ablation. Files of pretrained weights that ``config`` names are not read.
        cfg_options: Changes to ``config``, as in ``--cfg-options``.
        strict: Whether all keys must match. ``False`` allows missing and unexpected keys and logs the first of them
            as a warning.
        seed: Seed of the initial weights where ``checkpoint`` is ``None``.
        fold: Whether BatchNorm layers are folded into the convolutions before them, and convolutions on a CPU compute
            with channels last. Both change the outputs by rounding alone. A layer with a tap is not folded.
        begin: Iteration (or epoch) before which the weight of its distillers is 0, as that of an average is.
        by_epoch: Whether ``begin`` counts epochs.
        mode: See :class:`~kd_plugins.teachers.base.BaseTeacher`.
        key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If the config cannot be read or has no ``model``.
        CheckpointError: If the checkpoint is truncated, foreign or does not fit.
    """

    def __init__(
        self,
        config: str | dict[str, Any],
        checkpoint: str | None,
        cfg_options: dict[str, Any] | None = None,
        strict: bool = True,
        seed: int = 0,
        fold: bool = True,
        begin: int = 0,
        by_epoch: bool = False,
        mode: str = 'tensor',
        key: str = 'teacher',
    ) -> None:
        super().__init__(checkpoint, strict, seed, fold, mode, key)
        self.begin = Begin(begin, by_epoch, key, 'it')
        self.counts_epochs = by_epoch
        self.config = config
        self.cfg_options = cfg_options or {}
        self.classes: tuple[str, ...] | None = None

    @property
    def ready(self) -> bool:
        """Whether ``begin`` is reached."""
        return self.begin.begin == 0 or self.begin.reached

    def state_dict(self) -> dict[str, Any]:
        """Return the form of the network, and whether ``begin`` was reached."""
        return {**super().state_dict(), **({'ready': self.ready} if self.begin.begin else {})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`."""
        super().load_state_dict(state)
        self.begin.reached = bool(state.get('ready', self.begin.reached))

    def check_schedule(self, iteration: int, epoch_length: int, max_iters: int) -> None:
        """Refuse a run that ends before ``begin``."""
        self.begin.check(epoch_length, max_iters)

    def after_step(self, student: nn.Module, iteration: int) -> None:
        """Begin where ``begin`` counts iterations."""
        self.begin.after_step(iteration)

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Begin where ``begin`` counts epochs."""
        self.begin.after_epoch(epoch)

    def _load_config(self) -> Config:
        from ..config.reading import read_changed

        config = read_changed(self.config, self.cfg_options, self.key)
        if 'model' not in config:
            raise ConfigError(f"{self.key}.config: '{self.config}' holds no 'model'; valid: a config that trains")
        return config

    def prepare(
        self, student: nn.Module, iteration: int = 0, epoch: int = 0, build_model: ModelBuilder | None = None
    ) -> None:
        """Build the network, load its weights and compare its preprocessing with the student's."""
        self.begin.prepare(iteration, epoch)
        config = self._load_config()
        if self.checkpoint is None:
            self._leave_out_files(config)
        # The hook calls this with forked generators, so the seed does not change the numbers of the run.
        torch.manual_seed(self.seed)
        model = self._build(config)
        if self.checkpoint is None:
            model.init_weights()
        else:
            key = f'{self.key}.checkpoint'
            url = '://' in self.checkpoint
            with first_on_node_first() if url else nullcontext():
                checkpoint = load_checkpoint(self.checkpoint, key=key)
            self.report = load_weights(model, checkpoint, self.checkpoint, self.strict, key=key)
            self._warn()
            meta = checkpoint.get('meta') or {}
            self.classes = next(iter(class_names(meta.get('dataset_meta'))), None)
        self._check_preprocessing(student, model)
        self._take(model, student)

    def _leave_out_files(self, config: Config) -> None:
        """Remove the files of pretrained weights from the config of a random teacher."""
        files = list(strip_pretrained(config.model, 'model'))
        left = (
            f'; {", ".join(files)} of {self.key}.config {"is" if len(files) == 1 else "are"} not read' if files else ''
        )
        message = f'{self.key}.checkpoint is None: the weights of the teacher are random, which is a control{left}'
        print_log(message, logger='current', level=logging.WARNING)

    def _build(self, config: Config) -> Any:
        """Return the network of the teacher's config, built in the scope of that config.

        Raises:
            ConfigError: If it cannot be built.
            MissingDependencyError: If a package is missing.
        """
        name = config.get('default_scope')
        current = DefaultScope.get_current_instance()
        foreign = bool(name) and (current is None or current.scope_name != name)
        try:
            with DefaultScope.overwrite_default_scope(name) if foreign else nullcontext():
                if foreign:
                    init_default_scope(name)
                return MMENGINE_MODELS.build(config.model)
        # A constructor may fail in any way, and MMEngine's sentence does not tell whose model it is.
        except Exception as error:
            text = sentence_of(error) or f'{type(error).__name__}: {first_line(error)}'
            kind = type(error) if isinstance(error, KDPluginsError) else ConfigError
            raise kind(f'{self.key}.config: its model cannot be built: {text}') from error

    def _check_preprocessing(self, student: nn.Module, teacher: nn.Module) -> None:
        # The teacher gets the preprocessed batch of the student, so another normalisation would silently corrupt its
        # predictions.
        for name, attributes in PREPROCESSING.items():
            student_value, teacher_value = (
                _text(_setting(inner_preprocessor(getattr(model, 'data_preprocessor', None)), attributes))
                for model in (student, teacher)
            )
            if student_value != teacher_value:
                raise ConfigError(
                    f'{self.key}.config: model.data_preprocessor.{name} is {teacher_value} where the student has '
                    f"{student_value}; the teacher is given the student's batch, so both must be equal"
                )


def _setting(preprocessor: Any, attributes: Sequence[str]) -> Any:
    """Return the first of some attributes that a data preprocessor has, None where it has none."""
    return next((getattr(preprocessor, name) for name in attributes if hasattr(preprocessor, name)), None)


def _text(value: Any) -> str:
    """Return a setting as text, for comparison and for the error sentence."""
    return str(value.flatten().tolist()) if isinstance(value, Tensor) else repr(value)
