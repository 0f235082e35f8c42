"""Fisher information at the end of a run: by hand, on two ranks, beside a plain checkpoint; and EWC in the next run."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.utils import reduce_mean
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import DistillHook, EpochSeedHook, FisherHook
from tests.hooks.tiny_runs import GAP, Points, TinyStudent, losses_of, make_runner
from tests.ranks import on_two_ranks

PATH = 'param:second.*'
ANCHOR: dict[str, Any] = {'type': 'kd_plugins.ParameterAnchor', 'parameters': 'param:**', 'weight': 0.1}


def by_hand(student: TinyStudent, images: int) -> dict[str, Tensor]:
    """Return the mean of the squared gradients of the second layer, from its inputs and outputs, without dropout."""
    squares = {'second.weight': torch.zeros(3, 4), 'second.bias': torch.zeros(3)}
    for at in range(images):
        hidden = student.first(Points()[at * 8 // images]['inputs']).relu()
        residual = 2 * student.second(hidden) / 3  # of the mean of three squares
        squares['second.weight'] += (residual[:, None] * hidden).square().detach() / images
        squares['second.bias'] += residual.square().detach() / images
    return squares


def measured(
    images: int | None, model: type = TinyStudent, dataset: Any = None, collate: Any = default_collate
) -> dict[str, Tensor]:
    torch.manual_seed(0)
    loader = SimpleNamespace(dataset=dataset or Points(), collate_fn=collate)
    runner = SimpleNamespace(
        model=model(),
        train_dataloader=loader,
        seed=1,
        hooks=[],
        logger=logging.getLogger('x'),
        iter=3,
        max_iters=4,
    )
    hook = FisherHook(PATH, images)
    hook.before_train(runner)
    hook.after_train_iter(runner, 3)
    assert hook.record is not None and hook.record['samples'] == (images or len(loader.dataset))
    return hook.record['information']


@pytest.mark.parametrize('images', [None, 3])
def test_value_by_hand(images: int | None) -> None:
    torch.manual_seed(0)
    expected = by_hand(TinyStudent(), images or 8)
    torch.testing.assert_close(measured(images), expected)


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    for information in on_two_ranks(tmp_path, measured, 5):
        torch.testing.assert_close(information, measured(5))


class Boxes(Dataset[dict[str, Any]]):
    """Images of different shapes, of which image ``i`` has ``i`` boxes."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        shape = (64, 32 * (index + 1))
        truth = InstanceData(bboxes=torch.tensor([[2.0, 2.0, 20.0, 20.0]]).repeat(index, 1))
        sample = DetDataSample(metainfo=dict(img_shape=shape, pad_shape=shape), gt_instances=truth)
        return {'inputs': torch.arange(256 * 4).remainder(251)[: shape[1]].expand(3, *shape), 'data_samples': sample}


class MultiScaleDetector(BaseModel):
    """A loss divided by the number of boxes, as a mean over ranks, of images whose size the ranks draw together."""

    def __init__(self) -> None:
        resize = dict(type='BatchSyncRandomResize', random_size_range=(32, 96), interval=1)
        preprocessor = dict(type='mmdet.DetDataPreprocessor', std=[255] * 3, mean=[0] * 3, batch_augments=[resize])
        MessageHub.get_current_instance().update_info('iter', 9)
        super().__init__(preprocessor)
        self.second = nn.Conv2d(3, 2, 1)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        width = inputs.shape[3] / 32
        assert width == len(data_samples[0].gt_instances) + 1, 'an image was resized'
        count = reduce_mean(inputs.new_tensor(width))
        return {'loss_task': self.second(inputs).square().sum() / count}


def test_ranks_with_different_numbers_of_images_and_a_shared_normaliser(tmp_path: Path) -> None:
    arguments = (None, MultiScaleDetector, Boxes(), pseudo_collate)
    for information in on_two_ranks(tmp_path, measured, *arguments):
        torch.testing.assert_close(information, measured(*arguments))


def test_the_last_checkpoint_holds_it_and_nothing_else_changes(tmp_path: Path) -> None:
    def hooks(name: str) -> list[Any]:
        distillers = dict(gap={**GAP, 'tap': 'first', 'factor': 0.0}, anchor={**ANCHOR, 'parameters': 'param:first.*'})
        return [DistillHook(distillers, dict(type='kd_plugins.EMATeacher', momentum=0.5))]

    plain = losses_of(tmp_path / 'plain', hooks('plain'))
    assert losses_of(tmp_path / 'with', [*hooks('with'), FisherHook(PATH)]) == plain
    first, second, other = (
        torch.load(tmp_path / name, weights_only=False)
        for name in ('with/epoch_1.pth', 'with/epoch_2.pth', 'plain/epoch_2.pth')
    )
    assert 'fisher' not in first and 'fisher' not in other
    assert second['state_dict'].keys() == other['state_dict'].keys()
    assert all(torch.equal(value, other['state_dict'][name]) for name, value in second['state_dict'].items())
    student = TinyStudent()
    student.load_state_dict(second['state_dict'])
    torch.testing.assert_close(second['fisher']['information'], by_hand(student, 8))


def test_resume_keeps_the_anchor(tmp_path: Path) -> None:
    def hooks() -> list[Any]:
        return [EpochSeedHook(), DistillHook(dict(anchor=dict(ANCHOR)))]

    whole = losses_of(tmp_path / 'whole', hooks(), epochs=3)
    assert whole[0]['distill.anchor.loss_anchor'] == 0 and whole[-1]['distill.anchor.loss_anchor'] > 0
    first = losses_of(tmp_path / 'parts', hooks(), stop_at=6, epochs=3)
    resumed = losses_of(tmp_path / 'parts', hooks(), epochs=3, resume=True)
    assert first[:4] + resumed == whole


def test_a_later_task_reads_it(tmp_path: Path) -> None:
    make_runner(tmp_path / 'first', [FisherHook('param:**')]).train()
    path = str(tmp_path / 'first' / 'epoch_2.pth')
    hook = DistillHook(dict(anchor={**ANCHOR, 'method': 'ewc', 'checkpoint': path}))
    losses = losses_of(tmp_path / 'second', [hook], load_from=path)
    assert losses[0]['distill.anchor.loss_anchor'] == 0 and losses[-1]['distill.anchor.loss_anchor'] > 0
    plain = torch.load(tmp_path / 'second' / 'epoch_2.pth', weights_only=False)
    assert plain['state_dict'].keys() == TinyStudent().state_dict().keys()


def test_runs_that_cannot_be_measured(tmp_path: Path) -> None:
    for settings, match in (
        ({'parameters': 'second'}, "parameters is 'second', which names no parameters; nearest: 'param:second'"),
        ({'images': 0}, 'images is 0'),
    ):
        with pytest.raises(ConfigError, match=match):
            FisherHook(**settings)
    with pytest.raises(ConfigError, match="'param:backbone.\\*\\*' names no parameter of the student"):
        make_runner(tmp_path / 'a', [FisherHook()]).train()
    with pytest.raises(ConfigError, match='EMAHook saves their average; leave EMAHook out'):
        make_runner(tmp_path / 'b', [FisherHook(PATH), dict(type='EMAHook')]).train()
    stopping = dict(type='EarlyStoppingHook', monitor='x', rule='less')
    with pytest.raises(ConfigError, match='which EarlyStoppingHook may leave out; remove it'):
        make_runner(tmp_path / 'd', [FisherHook(PATH), stopping]).train()
    frozen = TinyStudent()
    frozen.second.requires_grad_(False)
    with pytest.raises(ConfigError, match="'param:second.\\*' names 2 parameters, and none is trained"):
        make_runner(tmp_path / 'c', [FisherHook(PATH)], model=frozen).train()
