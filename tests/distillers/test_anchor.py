"""Anchors: value, gradient, start, teacher and checkpoint as anchor, frozen and shared parameters, bad settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch, ParameterAnchor
from kd_plugins.errors import CheckpointError
from kd_plugins.ops.fisher import fisher_record
from kd_plugins.taps import TapSet
from tests.distillers.common import sentence

BATCH = Batch(torch.zeros(2, 3), None)


class Net(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, classes)


def anchored(student: nn.Module, teacher: nn.Module | None = None, **settings: Any) -> tuple[ParameterAnchor, Any]:
    """Return a distiller that knows its start, and a function that gives its loss."""
    distiller = ParameterAnchor(source='student' if teacher is None else 'teacher', key='distillers.a', **settings)
    distiller.check_models(student, student if teacher is None else teacher)

    def outputs(model: nn.Module, paths: dict[str, str]) -> dict[str, list[Tensor]]:
        taps = TapSet(model, {path: path for path in paths.values()})
        return {alias: taps.read(path) for alias, path in paths.items()}

    def loss() -> Tensor:
        teacher_outputs = {} if teacher is None else outputs(teacher, distiller.teacher_taps())
        return distiller(outputs(student, distiller.student_taps()), teacher_outputs, BATCH)['loss_anchor']

    distiller.initialize(outputs(student, distiller.student_taps()), {})
    return distiller, loss


def shift(model: nn.Module, by: float = 1.0) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by


def saved(folder: Path, model: nn.Module, **entries: Any) -> str:
    torch.save({'state_dict': model.state_dict(), **entries}, folder / 'task.pth')
    return str(folder / 'task.pth')


def test_start() -> None:
    student = Net()
    start = [parameter.detach().clone() for parameter in student.backbone.parameters()]
    distiller, loss = anchored(student)
    assert loss() == 0 and distiller.monitors()['drift'] == 0
    shift(student, 0.5)
    value = 3.0 * loss()
    value.backward()
    torch.testing.assert_close(value.detach(), torch.tensor(3.0 * (9 + 3 + 3 + 3) * 0.25))
    for parameter, before in zip(student.backbone.parameters(), start):
        torch.testing.assert_close(parameter.grad, 2 * 3.0 * (parameter.detach() - before))
    assert student.head.weight.grad is None and distiller.monitors()['drift'] > 0
    again, _ = anchored(student)
    again.load_state_dict(distiller.state_dict())
    assert torch.equal(again.get_buffer('anchor/backbone/0/weight'), start[0])
    assert list(distiller.parameters()) == []


def test_each_parameter_counts_once_and_frozen_ones_do_not() -> None:
    student = Net()
    student.head = nn.Linear(3, 3, bias=False)
    student.head.weight = student.backbone[0].weight
    student.backbone[0].bias.requires_grad_(False)
    _, loss = anchored(student, parameters=['param:head.**', 'param:backbone.0.*', 'param:backbone.0.weight'])
    shift(student)
    value = loss()
    value.backward()
    assert value == 9
    student.head.weight.requires_grad_(False)
    assert loss() == 0 and not loss().requires_grad


def test_teacher_is_the_anchor() -> None:
    student, teacher = Net(), Net()
    teacher.load_state_dict(student.state_dict())
    _, loss = anchored(student, teacher, parameters='param:**')
    assert loss() == 0
    shift(teacher, 2.0)
    torch.testing.assert_close(loss(), torch.tensor(4.0 * (18 + 8)))
    with sentence("the student has 'head.weight' of shape .3, 3. where the teacher has 'head.weight' of shape .2, 3."):
        anchored(Net(3), teacher, parameters='param:**')


def test_earlier_task(tmp_path: Path) -> None:
    student = Net()
    trained = {name: one for name, one in student.named_parameters() if name.startswith('backbone')}
    information = {name: torch.rand_like(one) for name, one in trained.items()}
    path = saved(tmp_path, student, fisher=fisher_record(information, 8))
    before = {name: one.detach().clone() for name, one in trained.items()}
    shift(student)
    distiller, loss = anchored(student, method='ewc', checkpoint=path)
    assert distiller.state_dict() == {}, 'a file is read again'
    (0.5 * loss()).backward()
    for name, one in trained.items():
        torch.testing.assert_close(one.grad, 2 * 0.5 * information[name] * (one.detach() - before[name]))
    mean = torch.cat([one.flatten() for one in information.values()]).mean()
    torch.testing.assert_close(anchored(student, method='ewc', checkpoint=path, normalize=True)[1](), loss() / mean)
    torch.testing.assert_close(anchored(student, checkpoint=path)[1](), torch.tensor(18.0))


@pytest.mark.parametrize('method', ['l2', 'ewc'])
def test_rows_of_new_classes_are_free(tmp_path: Path, method: str) -> None:
    old, new = Net(2), Net(3)
    information = {'head.weight': torch.full((2, 3), 5.0), 'head.bias': torch.full((2,), 5.0)}
    meta = {'dataset_meta': {'classes': ('cat', 'dog')}}
    path = saved(tmp_path, old, fisher=fisher_record(information, 1), meta=meta)
    _, loss = anchored(new, parameters='param:head.*', method=method, checkpoint=path, classes=['dog', 'cow', 'cat'])
    loss().backward()
    factor = 2.0 * (5.0 if method == 'ewc' else 1.0)
    expected = torch.zeros(3, 3)
    expected[[2, 0]] = factor * (new.head.weight[[2, 0]] - old.head.weight).detach()
    torch.testing.assert_close(new.head.weight.grad, expected)
    assert new.head.bias.grad is not None and new.head.bias.grad[1] == 0


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    plain = saved(tmp_path, Net())
    with pytest.raises(CheckpointError, match='task.pth. holds no Fisher information'):
        anchored(Net(), method='ewc', checkpoint=plain)
    match = "'head.weight' of shape .3, 3. needs weights, and the file has those of shape .2, 3."
    with pytest.raises(CheckpointError, match=match):
        anchored(Net(3), parameters='param:**', checkpoint=plain)
    empty = saved(tmp_path, Net(), fisher=fisher_record({'head.weight': torch.zeros(2, 3)}, 1))
    with pytest.raises(CheckpointError, match='is 0 everywhere'):
        anchored(Net(), method='ewc', checkpoint=empty, parameters='param:head.weight', normalize=True)
    with pytest.raises(
        CheckpointError, match="'head.bias' of shape .2,. needs Fisher information, and the file has none"
    ):
        anchored(Net(), method='ewc', checkpoint=empty, parameters='param:head.*')


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        ({'parameters': 'backbone.**'}, "names no parameters; nearest: 'param:backbone.\\*\\*'"),
        ({'parameters': []}, "parameters is \\[\\], which names no parameters; nearest: 'param:backbone"),
        ({'parameters': 'param:a:copy'}, "'param:a:copy' names no parameters; valid"),
        ({'method': 'ewk'}, "method is 'ewk'; .*'ewc'"),
        ({'method': 'ewc'}, "checkpoint is None with method='ewc'"),
        ({'normalize': True}, "normalize is True with method='l2'"),
        ({'classes': ['cat']}, 'classes is .*without a checkpoint'),
        ({'source': 'auto'}, "source is 'auto'.*valid: source='student'"),
        ({'source': 'teacher', 'checkpoint': 'x.pth'}, "source is 'teacher' and checkpoint 'x.pth'; valid"),
    ],
)
def test_bad_settings(settings: dict[str, Any], match: str) -> None:
    with sentence(match):
        ParameterAnchor(**settings)
    with sentence("'param:bakbone.\\*\\*' names no parameter of the student"):
        anchored(Net(), parameters='param:bakbone.**')
