"""Steps of several runs that alternate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from kd_plugins.hooks import DistillHook
from kd_plugins.profiling.timing import interleave, median_ratio
from tests.hooks.tiny_runs import EMA, GAP, make_runner


class Steps(Hook):
    """Write the name of a run and its batch into a list that several runs share."""

    def __init__(self, name: str, steps: list[tuple[str, float]]) -> None:
        self.name = name
        self.steps = steps

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.steps.append((self.name, float(data_batch['inputs'].sum())))


def test_runs_take_turns_on_the_same_batches(tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    ran: list[str] = []
    distill = DistillHook({'gap': {**GAP, 'weight': 0.0}}, EMA)
    distill.subscribe(lambda report: ran.append(str(bool(report.teacher_shapes))))
    runners = {
        'plain': make_runner(tmp_path / 'plain', [Steps('plain', steps)]),
        'distilled': make_runner(tmp_path / 'distilled', [distill, Steps('distilled', steps)]),
    }
    costs = interleave(runners, steps=4, warmup=2)
    names = [name for name, _ in steps]
    # The order alternates; one more step of each run counts bytes.
    assert names == ['plain', 'distilled', 'distilled', 'plain'] * 3 + ['plain', 'distilled']
    for first, second in zip(steps[::2], steps[1::2]):
        assert first[1] == second[1]
    for cost in costs.values():
        assert len(cost.seconds) == len(cost.processor_seconds) == 4 and min(cost.seconds) > 0 and cost.peak_bytes > 0
    assert set(ran) == {'True'}, 'a distiller with weight 0 runs as well'


def test_the_ratio_is_that_of_neighbouring_steps() -> None:
    """A machine that becomes slower in the middle slows both runs, so their ratio stays."""
    assert median_ratio([1.1, 1.1, 11.0, 11.0], [1.0, 1.0, 10.0, 10.0]) == 1.1
