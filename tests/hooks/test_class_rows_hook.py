"""A head with more classes starts from one with fewer, by the names of the classes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import METRICS
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.hooks import ClassRowsHook, DistillHook
from kd_plugins.hooks.class_rows_hook import fill_rows
from kd_plugins.hooks.observer import StepObserver
from tests.hooks.tiny_runs import Points, loader_of, make_runner


class Classifier(BaseModel):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 4)
        self.head = nn.Linear(4, classes)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.head(self.backbone(inputs))
        return {'loss': outputs.square().mean()} if mode == 'loss' else outputs


@METRICS.register_module(force=True)
class NothingMeasured(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {}


class Named(Points):
    def __init__(self, *classes: str) -> None:
        self.metainfo = {'classes': classes}


def run(folder: Path, hook: Any, *classes: str, **settings: Any) -> Any:
    runner = make_runner(
        folder,
        [hook] if hook else [],
        epochs=1,
        model=Classifier(len(classes)),
        train_dataloader=loader_of(Named(*classes)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        **settings,
    )
    own = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.train()
    return own, runner.model.state_dict()


def test_rows_by_name_and_resume(tmp_path: Path) -> None:
    _, old = run(tmp_path / 'first', None, 'cat', 'dog')
    hook = ClassRowsHook()
    own, new = run(tmp_path / 'second', hook, 'dog', 'cow', 'cat', load_from=str(tmp_path / 'first' / 'epoch_1.pth'))
    assert hook.filled == ['head.weight', 'head.bias']
    assert torch.equal(
        new['head.weight'], torch.stack([old['head.weight'][1], own['head.weight'][1], old['head.weight'][0]])
    )
    assert torch.equal(new['head.bias'][[2, 0]], old['head.bias']) and new['head.bias'][1] == own['head.bias'][1]
    assert torch.equal(new['backbone.weight'], old['backbone.weight'])
    resumed = ClassRowsHook()
    _, again = run(tmp_path / 'second', resumed, 'dog', 'cow', 'cat', resume=True)
    assert resumed.filled == [] and torch.equal(again['head.weight'], new['head.weight'])
    same = ClassRowsHook()
    run(tmp_path / 'third', same, 'cat', 'dog', load_from=str(tmp_path / 'first' / 'epoch_1.pth'))
    assert same.filled == []


def test_a_finished_model_is_tested_with_its_config(tmp_path: Path) -> None:
    run(tmp_path / 'first', None, 'cat', 'dog')
    settings: dict[str, Any] = dict(load_from=str(tmp_path / 'first' / 'epoch_1.pth'))
    hook = ClassRowsHook(['cat', 'dog'])
    _, new = run(tmp_path / 'second', hook, 'dog', 'cow', 'cat', **settings)
    evaluation: dict[str, Any] = dict(
        test_dataloader=loader_of(Named('dog', 'cow', 'cat')),
        test_cfg=dict(),
        test_evaluator=dict(type='NothingMeasured'),
    )
    finished = str(tmp_path / 'second' / 'epoch_1.pth')
    runner = make_runner(
        tmp_path / 'test', [ClassRowsHook(['cat', 'dog'])], model=Classifier(3), load_from=finished, **evaluation
    )
    runner.test()
    assert torch.equal(runner.model.head.weight, new['head.weight'])


def test_an_inspection_needs_no_checkpoint() -> None:
    distill = DistillHook({})
    distill.subscribe(StepObserver(runs_all=True))
    assert distill.inspected
    ClassRowsHook().before_train(SimpleNamespace(hooks=[distill], iter=0))


def test_box_layers_keep_the_values_of_a_class_together() -> None:
    student = nn.ModuleDict({'fc_reg': nn.Linear(1, 12), 'fc_cls': nn.Linear(1, 4)})
    state = {'module.fc_reg.bias': torch.arange(8.0), 'module.fc_cls.bias': torch.arange(3.0), 'other': torch.ones(1)}
    names = ['fc_cls.bias', 'fc_reg.bias']
    assert sorted(fill_rows(state, student, names, ('a', 'b'), ('b', 'c', 'a'))) == names
    assert state['module.fc_reg.bias'][:4].tolist() == [4, 5, 6, 7] and state['module.fc_reg.bias'][8:].tolist() == [
        0,
        1,
        2,
        3,
    ]
    assert state['module.fc_cls.bias'][[0, 2, 3]].tolist() == [1, 0, 2]


def test_what_does_not_fit(tmp_path: Path) -> None:
    run(tmp_path / 'first', None, 'cat', 'dog')
    path = str(tmp_path / 'first' / 'epoch_1.pth')
    for number, (hook, classes, settings, match) in enumerate(
        (
            (ClassRowsHook(), ('cat', 'dog', 'cow'), {}, 'fills a head from load_from, which is None'),
            (
                ClassRowsHook(),
                ('a', 'b', 'c'),
                {'load_from': path},
                "knows .'cat', 'dog'. and .*, which share no class",
            ),
            (
                ClassRowsHook(),
                ('dog', 'cat'),
                {'load_from': path},
                'no layer differs in its classes alone .all shapes agree',
            ),
            (
                ClassRowsHook(['cat', 'x', 'y', 'z']),
                ('cat', 'dog', 'cow'),
                {'load_from': path},
                "'head.weight' has the shape",
            ),
        )
    ):
        with pytest.raises(ConfigError, match=match):
            run(tmp_path / str(number), hook, *classes, **settings)
    with pytest.raises(ConfigError, match="classes is 'cat'; valid: None"):
        ClassRowsHook('cat')  # type: ignore[arg-type]
