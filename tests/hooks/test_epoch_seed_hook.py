"""Random numbers that depend on seed and epoch alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook

from kd_plugins.hooks import EpochSeedHook
from tests.hooks.tiny_runs import ITERATIONS, Points, losses_of, make_runner


class Draws(Hook):
    """Keep a number of each generator at the start of every epoch or iteration."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, float, float]] = []

    def _draw(self) -> None:
        self.drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))

    def before_train_epoch(self, runner: Any) -> None:
        self._draw()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._draw()


def drawn(work_dir: Path, **settings: Any) -> list[tuple[float, float, float]]:
    draws = Draws()
    losses_of(work_dir, [EpochSeedHook(), draws], **settings)
    return draws.drawn


def test_a_resumed_run_draws_and_loses_what_the_whole_one_did(tmp_path: Path) -> None:
    whole = losses_of(tmp_path / 'whole', [EpochSeedHook()], epochs=3)
    losses_of(tmp_path / 'cut', [EpochSeedHook()], stop_at=6, epochs=3)
    assert losses_of(tmp_path / 'cut', [EpochSeedHook()], epochs=3, resume=True) == whole[4:]


def test_without_the_hook_it_does_not(tmp_path: Path) -> None:
    """The network has dropout, so this test would notice a hook without effect."""
    whole = losses_of(tmp_path / 'whole', [], epochs=3)
    losses_of(tmp_path / 'cut', [], stop_at=6, epochs=3)
    assert losses_of(tmp_path / 'cut', [], epochs=3, resume=True) != whole[4:]


def test_every_epoch_and_every_seed_has_numbers_of_its_own(tmp_path: Path) -> None:
    first = drawn(tmp_path / 'first')
    assert first == drawn(tmp_path / 'again')
    other = drawn(tmp_path / 'other', randomness=dict(seed=4))
    for generator in range(3):
        numbers = [draw[generator] for draw in first + other]
        assert len(set(numbers)) == len(numbers)


def test_loops_without_epochs_seed_every_iteration(tmp_path: Path) -> None:
    class Losses(Hook):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            numbers.append(float(torch.rand(())))
            torch.rand(runner.iter)  # what an iteration draws does not reach the next one

    numbers: list[float] = []
    settings: dict[str, Any] = dict(train_cfg=dict(by_epoch=False, max_iters=3), param_scheduler=None)
    make_runner(tmp_path / 'first', [EpochSeedHook(), Losses()], **settings).train()
    first, numbers = numbers, []
    make_runner(tmp_path / 'second', [EpochSeedHook(), Losses()], **settings).train()
    assert numbers == first and len(set(first)) == 3


class NoisyPoints(Points):
    """Points with noise of the main process's generators, as an augmentation without workers draws it."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {'inputs': super().__getitem__(index)['inputs'] + torch.randn(2) + random.random() + np.random.rand()}


def test_a_resumed_loop_of_iterations_augments_its_first_batch_as_the_whole_one_did(tmp_path: Path) -> None:
    loader = {**ITERATIONS['train_dataloader'], 'dataset': NoisyPoints()}
    settings: dict[str, Any] = {**ITERATIONS, 'train_dataloader': loader}
    settings['default_hooks'] = dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False))
    whole = losses_of(tmp_path / 'whole', [EpochSeedHook()], **settings)
    losses_of(tmp_path / 'cut', [EpochSeedHook()], stop_at=8, **settings)
    assert losses_of(tmp_path / 'cut', [EpochSeedHook()], resume=True, **settings) == whole[6:]
