"""First steps of a training with a distill entry, in a world."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, MODELS, DefaultScope
from torch import Tensor, nn

from kd_plugins.hooks import DistillHook
from kd_plugins.hooks.entries import check_entry
from kd_plugins.teachers.collection import teacher_configs

from .shipped import shipped_config
from .worlds import World, world_of

ITERATIONS = 160
EPOCH = 10


@MODELS.register_module(force=True)
class ConvMaps(nn.Module):
    """A backbone that gives a map of stride 16, in place of the networks of teachers without a config."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 16, 16)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


@cache
def conv_maps_checkpoint() -> str:
    """Return the path of the weights of :class:`ConvMaps`."""
    path = Path(mkdtemp(prefix='kd_plugins_fuzz_')) / 'backbone.pth'
    torch.save({'state_dict': ConvMaps().state_dict()}, path)
    return str(path)


def entry_of(name: str) -> dict[str, Any]:
    """Return the distill entry of a shipped config, with a teacher whose files exist."""
    entry = shipped_config(name).default_hooks.distill.to_dict()
    for teacher in teacher_configs(entry).values():
        if teacher['type'] == 'kd_plugins.FrozenTeacher':
            teacher['config'] = world_of(name).teacher_config
            teacher['checkpoint'] = world_of(name).teacher_checkpoint
        if teacher['type'] == 'kd_plugins.BackboneTeacher':
            teacher['model'] = {'type': 'ConvMaps'}
            teacher['checkpoint'] = conv_maps_checkpoint()
    for distiller in entry['distillers'].values():
        if distiller and distiller['type'] == 'kd_plugins.ParameterAnchor' and distiller.get('checkpoint'):
            distiller['checkpoint'] = world_of(name).teacher_checkpoint
        if distiller and name.startswith('dfine_native/dfine-s'):
            distiller.pop('teacher_tap', None)  # the teacher of a world has the levels of its student
        if distiller and distiller.get('teacher_classes'):
            # The teacher of a world has as many classes as the student, so it has them in another order.
            distiller['teacher_classes'] = ['WBC', 'RBC', 'Platelets']
    if entry.get('init_from_teacher'):
        # The world of a two-stage detector is a network with one head.
        entry['init_from_teacher'] = ['neck', 'bbox_head']
    return entry


def add_parts(entry: dict[str, Any]) -> None:
    """Add parts that no shipped entry has: adapters with an optimizer, a restart's seed, several teachers.

    Args:
        entry: Result of :func:`entry_of`; changed in place.
    """
    for distiller in entry['distillers'].values():
        if (distiller or {}).get('type') == 'kd_plugins.FeatureDistiller':
            distiller['adapter'] = {'type': 'kd_plugins.PointwiseAdapter', 'channel_dim': 1}
    entry['optimizer'] = {'optimizer': {'type': 'AdamW', 'lr': 1e-3}, 'clip_grad': {'type': 'norm', 'max_norm': 1.0}}
    entry['checks'] = {'classes': True}
    if entry.get('restart'):
        entry['restart']['seed'] = 3
    elif entry.get('teacher'):
        entry['teachers'] = {'big': entry.pop('teacher'), 'late': {'type': 'kd_plugins.SnapshotTeacher', 'epochs': 2}}
        for distiller in entry['distillers'].values():
            if distiller is not None:
                distiller['source'] = 'big'
        if pseudo := (entry.get('unlabelled') or {}).get('pseudo'):
            pseudo['source'] = 'big'


class Loader:
    """The loader of a stub runner: a data set and a length."""

    batch_size = 2

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return EPOCH


def stub_runner(place: World, hook: DistillHook) -> Any:
    """Return an object with the attributes of MMEngine's runner that the hook reads."""
    optimizer = torch.optim.SGD([next(iter(place.student.parameters()))], lr=0.01, momentum=0.9)
    visualizer = SimpleNamespace(add_scalars=lambda *args, **kwargs: None)
    logger = logging.getLogger('kd_plugins_fuzz')
    logger.setLevel(logging.CRITICAL)
    return SimpleNamespace(
        cfg=place.config,
        model=place.student,
        iter=0,
        epoch=0,
        max_iters=ITERATIONS,
        max_epochs=ITERATIONS // EPOCH,
        train_dataloader=Loader(place.dataset),
        train_loop=SimpleNamespace(dataloader=Loader(place.dataset)),
        hooks=[hook],
        logger=logger,
        optim_wrapper=OptimWrapper(optimizer),
        seed=0,
        default_scope=DefaultScope.get_current_instance() or SimpleNamespace(scope_name=place.scope),
        visualizer=visualizer,
        work_dir=str(place.folder),
        auto_scale_lr=None,
        message_hub=MessageHub('kd_plugins_fuzz'),
    )


@contextmanager
def _scope(name: str) -> Iterator[None]:
    with DefaultScope.overwrite_default_scope(name):
        yield


def take_first_step(entry: Any, place: World, loads: bool = False, steps: bool = True) -> None:
    """Do with a distill entry what a training does up to its first step, and then the second.

    Args:
        entry: ``default_hooks.distill``; changed in place.
        place: The world of its config.
        loads: Whether the config has a ``load_from``.
        steps: Whether the network can run.
    """
    place.clean()
    hook = None
    with _scope(place.scope):
        try:
            check_entry(entry, 'default_hooks.distill')
            hook = HOOKS.build(entry)
            runner = stub_runner(place, hook)
            hook.before_run(runner)
            if loads:
                hook.after_load_checkpoint(runner, {'state_dict': {}, 'optimizer': {}})
            if not steps:
                return
            hook.before_train(runner)
            for iteration in itertools.count():
                runner.iter = iteration
                hook.before_train_iter(runner, iteration)
                losses = place.student(**copy.copy(place.data), mode='loss')
                assert all(isinstance(value, (Tensor, list)) for value in losses.values())
                if iteration == 1:
                    break
                hook.after_train_iter(runner, iteration)
        finally:
            if isinstance(hook, DistillHook) and hook.session is not None:
                hook.after_train(runner)
