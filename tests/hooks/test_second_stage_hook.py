"""The second stage: what it switches, from which weights its epochs begin, resuming, two ranks, and sentences."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader

from kd_plugins.checkpoints import load_checkpoint
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.hooks import SecondStageHook
from kd_plugins.hooks.second_stage_hook import BEST, RECORD, Progress, plain_datasets, switch_pipeline
from kd_plugins.models.batch_resize import BatchListResize
from kd_plugins.runner.resume import CutOffValidation
from tests.hooks.staged_runs import NormedStudent, PipedPoints, States, staged_runner
from tests.hooks.tiny_runs import ITERATIONS, Recorder, loader_of
from tests.ranks import on_two_ranks

Losses = list[dict[str, float]]


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def losses_of(work_dir: Path, *hooks: Any, stop_at: int | None = None, **settings: Any) -> Losses:
    recorder = Recorder(stop_at)
    with suppress(KeyboardInterrupt):
        staged_runner(work_dir, [*hooks, recorder], **settings).train()
    return recorder.losses


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Losses:
    """Losses of the uninterrupted run, four an epoch."""
    return losses_of(tmp_path_factory.mktemp('whole') / 'run')


def test_epochs_of_the_second_stage_begin_from_the_best_weights_or_go_on(tmp_path: Path) -> None:
    states = States()
    runner = staged_runner(tmp_path / 'run', [states])
    runner.train()
    begins, ends = states.begins, states.ends
    # Epochs count from 0 at their begin and from 1 at their end. Scores: 0.3, 0.5, 0.4 | 0.45, 0.2, 0.1, 0.7.
    assert_equal(begins[1], ends[1])
    assert_equal(begins[2], ends[2])
    assert_equal(begins[3], ends[2])  # the switch
    assert_equal(begins[4], ends[2])  # 0.45 is less than 0.5
    assert_equal(begins[5], ends[5])  # 0.2 is the first score after the reload
    assert_equal(begins[6], ends[2])  # 0.1 is less than 0.2
    assert not torch.equal(ends[3]['model.first.weight'], ends[2]['model.first.weight'])
    assert not torch.equal(ends[2]['average.module.first.weight'], ends[2]['model.first.weight'])
    assert states.shifts == {0: 0.0, 1: 0.0, 2: 0.0, 3: 2.0, 4: 2.0, 5: 2.0, 6: 2.0}
    # The schedule goes on: the rate of the best epoch, 0.1, does not come back.
    assert [round(rate, 4) for rate in states.rates.values()] == [0.1] * 3 + [0.01] * 4
    assert runner.model.data_preprocessor.batch_augments[0].stop_epoch == 3
    saved = load_checkpoint(tmp_path / 'run' / BEST)
    assert saved['meta']['epoch'] == 2 and 'param_schedulers' not in saved
    rows = json.loads((tmp_path / 'run' / RECORD).read_text())
    assert [row['epoch'] for row in rows if row['reload']] == [4, 6]


SPARSE: dict[str, Any] = dict(train_cfg=dict(by_epoch=True, max_epochs=7, val_interval=2), stage=dict(stop_epoch=2))


def test_an_epoch_is_undone_by_a_validation_alone(tmp_path: Path) -> None:
    states = States()
    staged_runner(tmp_path / 'run', [states], **SPARSE).train()
    begins, ends = states.begins, states.ends
    # Epochs 2, 4, 6 and 7 are validated, with the scores 0.5 | 0.45, 0.1, 0.7.
    assert_equal(begins[2], ends[2])
    assert_equal(begins[4], ends[2])
    assert not torch.equal(begins[5]['model.first.weight'], ends[2]['model.first.weight'])
    assert_equal(begins[6], ends[6])


@pytest.mark.parametrize('stop_at', [18, 22])
def test_a_resumed_run_with_few_validations_does_the_same(tmp_path: Path, stop_at: int) -> None:
    whole = losses_of(tmp_path / 'whole', **SPARSE)
    losses_of(tmp_path / 'run', stop_at=stop_at, **SPARSE)
    assert losses_of(tmp_path / 'run', resume=True, **SPARSE) == whole[stop_at // 4 * 4 :]


@pytest.mark.parametrize('stop_at', [10, 18, 26])
def test_a_resumed_run_does_the_same(tmp_path: Path, whole: Losses, stop_at: int) -> None:
    assert losses_of(tmp_path / 'run', stop_at=stop_at) == whole[:stop_at]
    assert losses_of(tmp_path / 'run', resume=True) == whole[stop_at // 4 * 4 :]


class CutOff(Hook):
    """Stop before a validation, after its checkpoint."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def before_val_epoch(self, runner: Any) -> None:
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize('epoch', [2, 6])
def test_a_validation_that_was_cut_off_decides_after_the_resume(tmp_path: Path, whole: Losses, epoch: int) -> None:
    """``kd_plugins train --resume`` adds this hook; epoch 2 is the best one, epoch 6 is undone."""
    losses_of(tmp_path / 'run', CutOff(epoch))
    validation = CutOffValidation(str(tmp_path / 'run' / f'epoch_{epoch}.pth'))
    assert losses_of(tmp_path / 'run', validation, resume=True) == whole[epoch * 4 :]


def test_without_reloading_it_only_switches(tmp_path: Path) -> None:
    states = States()
    staged_runner(tmp_path / 'run', [states], stage=dict(reload_best=False)).train()
    for epoch in range(1, 7):
        assert_equal(states.begins[epoch], states.ends[epoch])
    assert states.shifts[2] == 0.0 and states.shifts[3] == 2.0 and not (tmp_path / 'run' / BEST).exists()


def job(work_dir: Path) -> dict[str, Any]:
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    states = States()
    runner = staged_runner(work_dir, [states], launcher='pytorch', cfg=dict(model_wrapper_cfg=wrapper))
    runner.train()
    apart, together = BatchListResize(list(range(1, 99))), BatchListResize(list(range(1, 99)), synchronised=True)
    sizes = {'apart': apart.draw(), 'together': together.draw()}
    return {'rank': dist.get_rank(), 'begins': states.begins, 'ends': states.ends, **sizes}


@pytest.mark.distributed
def test_both_ranks_begin_from_the_file_of_the_main_one(tmp_path: Path) -> None:
    first, second = on_two_ranks(tmp_path, job, tmp_path / 'run')
    for rank in (first, second):
        # Each rank has statistics of its own; those of the file are the main rank's.
        for begun, ended in ((3, 2), (4, 2), (6, 2)):
            assert_equal(rank['begins'][begun], first['ends'][ended])
    assert not torch.equal(first['ends'][2]['model.norm.running_mean'], second['ends'][2]['model.norm.running_mean'])
    assert_equal(second['begins'][5], second['ends'][5])
    assert first['together'] == second['together'] == first['apart'] != second['apart']


def test_without_best_weights_there_is_a_sentence(tmp_path: Path) -> None:
    losses_of(tmp_path / 'run', stop_at=14)
    (tmp_path / 'run' / BEST).write_bytes(b'cut')
    with pytest.raises(
        CheckpointError, match=rf"^SecondStageHook: '.*{BEST}' is truncated.*; reload_best=False goes on"
    ):
        staged_runner(tmp_path / 'run', resume=True).train()
    (tmp_path / 'run' / BEST).unlink()
    with pytest.raises(CheckpointError, match='does not exist'):
        staged_runner(tmp_path / 'run', resume=True).train()
    (tmp_path / 'run' / RECORD).unlink()
    with pytest.raises(CheckpointError, match=r'no validation of the first stage \(3 epochs\) is recorded'):
        staged_runner(tmp_path / 'run', resume=True).train()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric is 'coco/bbox_mAP', which the validation lacks; valid: 'score'"):
        staged_runner(tmp_path / 'a', [SecondStageHook(3)]).train()
    with pytest.raises(ConfigError, match='train_cfg counts iterations'):
        staged_runner(tmp_path / 'b', **ITERATIONS).train()
    late = EMAHook()
    late.priority = 'LOWEST'
    with pytest.raises(ConfigError, match='EMAHook has priority'):
        staged_runner(tmp_path / 'c', [late]).train()
    for settings, named in (({'rule': 'larger'}, 'rule'), ({'stop_epoch': 0}, 'stop_epoch is 0')):
        with pytest.raises(ConfigError, match=named):
            HOOKS.build({'type': 'kd_plugins.SecondStageHook', 'stop_epoch': 3, **settings})


def test_a_preprocessor_of_several_branches_gets_the_end_of_its_sizes(tmp_path: Path) -> None:
    preprocessors = pytest.importorskip('mmdet.models.data_preprocessors')
    model = NormedStudent()
    inner = model.data_preprocessor
    model.data_preprocessor = preprocessors.MultiBranchDataPreprocessor(dict(type='mmdet.DetDataPreprocessor'))
    model.data_preprocessor.data_preprocessor = inner
    runner = staged_runner(tmp_path / 'run', model=model, stage=dict(pipeline=None))
    next(hook for hook in runner.hooks if isinstance(hook, SecondStageHook)).before_train(runner)
    assert inner.batch_augments[0].stop_epoch == 3


def test_smaller_scores_can_be_better_and_nan_is_never_the_best() -> None:
    progress = Progress()
    for epoch, score in enumerate((0.5, float('nan'), 0.4, 0.6), start=1):
        progress = progress.after(epoch, score, -1.0, stop_epoch=3)
    assert progress == Progress(4, None, 3, reload=True)


def test_wrapped_data_sets_and_lasting_workers_get_the_pipeline() -> None:
    parts = [PipedPoints(), PipedPoints()]
    loader = DataLoader(ConcatDataset(parts), 4, num_workers=1, persistent_workers=True)
    before = torch.cat([batch['inputs'] for batch in loader])
    switch_pipeline(loader, [dict(type='TinyShift', by=2.0)])
    after = torch.cat([batch['inputs'] for batch in loader])
    torch.testing.assert_close(after, before + 2)
    assert list(plain_datasets(loader.dataset)) == parts
    with pytest.raises(ConfigError, match='list of train_dataloader has no pipeline'):
        switch_pipeline(DataLoader([1, 2]), [])


@pytest.mark.parametrize(
    ('pipeline', 'mixed', 'sentence'),
    [
        ([dict(type='TinyShft', by=2.0)], False, 'TinyShft'),
        ([dict(type='TinyShift', by=2.0)], True, 'ConcatDataset of train_dataloader has steps of its own'),
    ],
    ids=['unknown step', 'mixed images'],
)
def test_a_switch_that_would_fail_later_is_refused_first(
    tmp_path: Path, pipeline: list[dict[str, Any]], mixed: bool, sentence: str
) -> None:
    data = ConcatDataset([PipedPoints()])
    if mixed:  # as MMDetection's MultiImageMixDataset
        data.pipeline = [dict(type='Mosaic')]
    runner = staged_runner(tmp_path / 'run', stage={'pipeline': pipeline}, train_dataloader=loader_of(data))
    with pytest.raises((ConfigError, KeyError), match=sentence):
        runner.train()
    assert not list((tmp_path / 'run').glob('*.pth'))
