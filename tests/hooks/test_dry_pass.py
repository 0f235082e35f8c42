"""The pass before training: adapters exist before the first iteration, and the run is that without a pass."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, IterableDataset

from kd_plugins.errors import ConfigError, TapError
from kd_plugins.hooks import DistillHook, EpochSeedHook
from kd_plugins.utils.safe_load import load_safely
from tests.hooks.tiny_runs import (
    ADAPTED,
    EMA,
    GAP,
    ITERATIONS,
    Points,
    Recorder,
    TinyStudent,
    loader_of,
    losses_of,
    make_runner,
)
from tests.ranks import on_two_ranks
from tests.torch_features import COMPILED_STEP

OFF = {'gap': {**ADAPTED, 'weight': 0.0}}
LATE = 'The adapters of the distillers are made in the first iteration'


class BeforeIteration(Hook):
    """Keep what a run has before each of its iterations; our hook has not been called for it yet."""

    priority = 'HIGHEST'

    def __init__(self, distill: DistillHook) -> None:
        self.distill = distill
        self.seen: list[Any] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        session, optimizer = self.distill.session, self.distill.optimizer
        assert session is not None
        self.seen.append((session.initialized, optimizer is not None, type(session.module)))


def run(work_dir: Path, distill: DistillHook, **settings: Any) -> list[Any]:
    before = BeforeIteration(distill)
    losses_of(work_dir, [before, distill], epochs=1, **settings)
    return before.seen


@pytest.mark.parametrize('teacher', [EMA, None])
def test_adapters_and_their_optimizer_exist_before_the_first_iteration(tmp_path: Path, teacher: Any) -> None:
    distiller = ADAPTED if teacher else {**ADAPTED, 'source': 'student'}
    assert [seen[:2] for seen in run(tmp_path / 'run', DistillHook({'gap': distiller}, teacher))] == [(True, True)] * 4


def test_their_state_is_restored_before_the_first_iteration(tmp_path: Path) -> None:
    class Adapter(Hook):
        priority = 'HIGHEST'

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            if not self.seen:
                optimizer = distill.optimizer.optimizer
                self.seen += [param.clone() for param in optimizer.param_groups[0]['params']]
                self.seen.append(len(optimizer.state))

        seen: list[Any] = []

    losses_of(tmp_path / 'run', [EpochSeedHook(), DistillHook({'gap': ADAPTED}, EMA)], epochs=1)
    saved = load_safely(tmp_path / 'run' / 'epoch_1.pth')['distill']
    distill = DistillHook({'gap': ADAPTED}, EMA)
    losses_of(tmp_path / 'run', [EpochSeedHook(), Adapter(), distill], epochs=2, resume=True)
    weight, bias, moments = Adapter.seen
    assert torch.equal(weight, saved['distillers']['members.gap.adapter.weight']) and moments == 2
    assert torch.equal(bias, saved['distillers']['members.gap.adapter.bias'])


class Cached(Points):
    """Data that depend on all reads before, as those of MMDetection's cached mosaic, and on every generator."""

    def __init__(self) -> None:
        self.cache: list[Tensor] = []
        self.generator = np.random.RandomState(0)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.cache.append(super().__getitem__(index)['inputs'])
        factor = self.generator.rand() + random.random() + np.random.rand() + torch.rand(()).item()
        return {'inputs': torch.stack(self.cache).mean(dim=0) * factor}


class Restless(TinyStudent):
    """A student with running statistics, a counter, a list and a network that its forward pass moves."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.average = nn.Linear(2, 4).requires_grad_(False)
        self.calls = 0
        self.history: list[Tensor] = []

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        hidden = self.norm(self.first(inputs).relu())
        outputs = self.second(self.dropout(hidden))
        if mode != 'loss':
            return outputs
        self.calls += 1
        with torch.no_grad():
            self.average.weight.lerp_(self.first.weight, 0.5)
        self.history.append(outputs.detach().mean())
        scale = self.calls + torch.stack(self.history).mean() + self.average(inputs).mean()
        return {'loss_task': (outputs * scale).tanh().square().mean()}


class Generators(Hook):
    """Keep the state of all generators when training begins, after all other hooks."""

    priority = 'LOWEST'

    def before_train(self, runner: Any) -> None:
        self.states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]


@pytest.mark.parametrize('loop', ['epochs', 'iterations'])
@pytest.mark.parametrize('workers', [0, 2])
def test_a_run_with_state_everywhere_stays_bit_identical(tmp_path: Path, loop: str, workers: int) -> None:
    def train(name: str, hooks: list[Any]) -> Any:
        sampler = 'InfiniteSampler' if loop == 'iterations' else 'DefaultSampler'
        loader = loader_of(Cached(), sampler, num_workers=workers, persistent_workers=workers > 0)
        settings = {**(ITERATIONS if loop == 'iterations' else {}), 'train_dataloader': loader}
        torch.manual_seed(0)
        recorder, generators, model = Recorder(), Generators(), Restless()
        make_runner(tmp_path / name, [*hooks, recorder, generators], model=model, **settings).train()
        losses = [step['loss_task'] for step in recorder.losses]
        tensors = {key: value.tolist() for key, value in model.state_dict().items()}
        return losses, tensors, generators.states, model.calls, len(model.history)

    plain = train('plain', [])
    assert train('off', [DistillHook(OFF, EMA)]) == plain


@pytest.mark.parametrize(
    ('distiller', 'teacher', 'error', 'sentence'),
    [
        ({**GAP, 'tap': 'dropped'}, EMA, TapError, "distillers.gap.tap: 'dropped' exists .* but never ran"),
        (
            {'type': 'kd_plugins.FeatureDistiller', 'student_tap': 'first', 'teacher_tap': 'second', 'adapter': None},
            EMA,
            ConfigError,
            'distillers.gap.adapter is None, and the student has 4 channels where the teacher has 3',
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused_before_the_first_iteration(
    tmp_path: Path, distiller: dict[str, Any], teacher: Any, error: type[Exception], sentence: str
) -> None:
    class Unused(TinyStudent):
        def __init__(self) -> None:
            super().__init__()
            self.dropped = nn.Linear(1, 1)

    distill = DistillHook({'gap': distiller}, teacher)
    before, model = BeforeIteration(distill), Unused()
    with pytest.raises(error, match=sentence):
        losses_of(tmp_path / 'run', [before, distill], model=model)
    assert not before.seen and distill.session is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Stream(IterableDataset[dict[str, Tensor]]):
    """The entries of another data set, without indices."""

    def __iter__(self) -> Any:
        return (Points()[index] for index in range(8))

    def __len__(self) -> int:
        return 8


class OwnInput(TinyStudent):
    """A model that reads its batch in a training step of its own."""

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        loss, log = self.parse_losses(self({'points': data['inputs']}, mode='loss'))
        optim_wrapper.update_params(loss)
        return log

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        return super().forward(inputs['points'], data_samples, mode)


class NoDict(TinyStudent):
    """A model that gives no losses until it trains."""

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = super().forward(inputs, data_samples, mode)
        return outputs if torch.is_grad_enabled() or mode != 'loss' else None


@pytest.mark.parametrize(
    ('settings', 'reason'),
    [
        (lambda: {'train_dataloader': DataLoader(Stream(), batch_size=2)}, 'train_dataloader is not a DataLoader of'),
        (lambda: {'model': OwnInput()}, 'a pass on two items gives IndexError'),
        (lambda: {'model': NoDict()}, "it does not run with mode='loss'"),
    ],
)
def test_where_no_pass_is_possible_the_first_iteration_makes_the_adapters(
    tmp_path: Path, settings: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def losses_with(name: str, *hooks: Any) -> list[Any]:
        torch.manual_seed(0)
        options = {'param_scheduler': None, 'log_level': 'INFO', **settings()}
        with caplog.at_level(logging.INFO):
            return losses_of(tmp_path / name, list(hooks), epochs=1, **options)

    distill = DistillHook({'gap': ADAPTED}, EMA)
    before = BeforeIteration(distill)
    losses = losses_with('on', before, distill)
    assert [seen[:2] for seen in before.seen] == [(False, False)] + [(True, True)] * 3
    assert len(losses) == 4 and losses[-1]['distill.gap.loss_gap'] > 0
    text = (tmp_path / 'on').rglob('*.log').__next__().read_text(encoding='utf-8')
    assert text.count(f'{LATE}, not before: {reason}') == 1
    plain = losses_with('plain')
    off = losses_with('off', DistillHook(OFF, EMA))
    assert [step['loss_task'] for step in off] == [step['loss_task'] for step in plain]


def test_a_run_without_distillers_has_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('kd_plugins.hooks.dry_pass.draw_batch', lambda loader: pytest.fail('a batch was drawn'))
    assert len(losses_of(tmp_path / 'run', [DistillHook({}, None)], epochs=1)) == 4


@COMPILED_STEP
def test_a_compiled_step_never_makes_adapters(tmp_path: Path) -> None:
    distill = DistillHook({'gap': ADAPTED}, EMA)
    before = BeforeIteration(distill)
    losses = losses_of(tmp_path / 'run', [before, distill], epochs=1, cfg=dict(compile=dict(backend='eager')))
    assert len(losses) == 4 and before.seen[0][:2] == (True, True)


class OneRankFails(Points):
    """A data set that cannot be read in one of the ranks, until its run begins."""

    def __getitem__(self, index: int) -> Any:
        in_worker = torch.utils.data.get_worker_info() is not None
        if in_worker and torch.distributed.get_rank() == self.rank:
            raise OSError('no such file')
        return super().__getitem__(index)

    rank = -1


def train_on_a_rank(work_dir: Path, failing: int) -> Any:
    """Train for an epoch; return what existed before the first iteration and the adapter before and after."""

    class Values(BeforeIteration):
        def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            super().before_train_iter(runner, *args, **kwargs)
            assert distill.session is not None
            adapters.append([param.detach().clone() for param in distill.session.distillers.parameters()])

    adapters: list[list[Tensor]] = []
    torch.manual_seed(torch.distributed.get_rank())
    data = OneRankFails()
    data.rank = failing
    distill = DistillHook({'gap': ADAPTED}, EMA)
    before = Values(distill)
    losses = losses_of(
        work_dir,
        [before, distill],
        epochs=1,
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)),
        train_dataloader=loader_of(data),
    )
    wrapped = [kind is DistributedDataParallel for _, _, kind in before.seen]
    return [seen[0] for seen in before.seen], wrapped, adapters, len(losses)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize('failing', [-1, 1])
def test_two_ranks_make_equal_adapters_together(tmp_path: Path, failing: int) -> None:
    """If one rank can draw no batch, both make their adapters in the first iteration."""
    first, second = on_two_ranks(tmp_path, train_on_a_rank, tmp_path / 'run', failing)
    early = failing < 0
    for made, wrapped, _, count in (first, second):
        assert made == wrapped == [early, True] and count == 2
    for mine, theirs in zip(first[2], second[2]):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
