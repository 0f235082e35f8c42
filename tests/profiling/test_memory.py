"""Bytes that live at once, and the peak of a training step."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from kd_plugins.hooks import DistillHook
from kd_plugins.profiling.memory import LiveBytes, held_tensors, peak_bytes, storage_bytes
from kd_plugins.runner.steps import batches, copy_batch, drive, train_step
from tests.hooks.tiny_runs import ADAPTED, EMA, make_runner


def test_memory_that_is_freed_counts_no_more() -> None:
    with LiveBytes([]) as live:
        for _ in range(10):
            x = torch.ones(1000)
            del x
    assert live.peak == 4000 and live.now == 0


def test_views_count_once_and_what_autograd_keeps_counts() -> None:
    weight = torch.ones(1000, requires_grad=True)
    with LiveBytes([weight]) as live:
        y = weight.exp()
        view = y[:10]
        total = y.sum()
        del y
        gc.collect()
        assert live.now >= 8000, 'the graph of the sum keeps exp(x)'
        del total, view
        gc.collect()
    assert live.now == 4000


def test_equal_storages_count_once() -> None:
    x = torch.zeros(100)
    assert storage_bytes([x, x[10:], x.view(10, 10)]) == 400
    assert storage_bytes([x, torch.zeros(1)]) == 404


@pytest.mark.skipif(torch.cuda.is_available(), reason='counts tensors on the CPU')
def test_a_step_with_a_teacher_takes_more(tmp_path: Path) -> None:
    peaks = {}
    for name, hooks in (('plain', []), ('distilled', [DistillHook({'gap': ADAPTED}, EMA)])):
        runner = make_runner(tmp_path / name, hooks)

        def body(runner=runner, name=name) -> None:
            batch, *_ = batches(runner, 1)
            train_step(runner, 0, copy_batch(batch))
            held = held_tensors(runner)
            peak = peak_bytes(runner, lambda: train_step(runner, 1, copy_batch(batch)))
            peaks[name] = storage_bytes(held), peak

        drive(runner, body)
    # Weights and momentum of 27 numbers; the distilled run holds a second network and an adapter of 12 numbers as well.
    assert peaks['plain'][0] >= 2 * 27 * 4 and peaks['distilled'][0] >= peaks['plain'][0] + (27 + 2 * 12) * 4
    assert all(peak > held for held, peak in peaks.values()) and peaks['distilled'][1] > peaks['plain'][1]
