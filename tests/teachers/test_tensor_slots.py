"""Places of tensors, and the update of one network by another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kd_plugins.teachers.tensor_slots import NetworkPair, tensor_slots
from tests.teachers.networks import TinyNet, same, step


class Shared(nn.Module):
    """Two heads with one convolution and a norm of their own, as RTMDet has over the levels; a volatile buffer."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Linear(2, 2)
        self.heads = nn.ModuleList([nn.Sequential(conv, nn.BatchNorm1d(2)) for _ in range(2)])
        self.tied = nn.Linear(2, 2)
        self.tied.weight = conv.weight
        self.register_buffer('scale', torch.ones(1), persistent=False)


def test_names_are_those_of_the_state_dict() -> None:
    network = Shared()
    assert tensor_slots(network, unique=False).keys() == network.state_dict().keys()
    unique = tensor_slots(network)
    assert {'heads.0.0.weight', 'heads.0.0.bias', 'tied.bias'} <= unique.keys()
    assert not {'heads.1.0.weight', 'tied.weight', 'scale'} & unique.keys()


def test_a_shared_tensor_is_averaged_once() -> None:
    student = Shared()
    average = copy.deepcopy(student)
    with torch.no_grad():
        for param in student.parameters():
            param.add_(1)
    before = average.state_dict()['tied.weight'].clone()
    NetworkPair(average, student).average(0.25)
    torch.testing.assert_close(average.tied.weight.detach(), before + 0.25)


@pytest.mark.parametrize('weight', [0.3, 1.0])
def test_floats_are_averaged_and_integers_copied(weight: float) -> None:
    student, average = TinyNet(), TinyNet()
    step(student)
    expected = {
        name: torch.lerp(value, student.state_dict()[name], weight) if value.is_floating_point() else torch.tensor(1)
        for name, value in copy.deepcopy(average).state_dict().items()
    }
    NetworkPair(average, student).average(weight)
    torch.testing.assert_close(dict(average.state_dict()), expected)


def test_a_replaced_buffer_is_followed() -> None:
    student, average = TinyNet(), TinyNet()
    pair = NetworkPair(average, student)
    student.norm.running_mean = torch.full((3,), 5.0)
    pair.copy()
    assert same(average, student) and average.norm.running_mean is not student.norm.running_mean


def test_an_update_reads_no_state_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError('the lists of tensors are made once')

    student, average = TinyNet(), TinyNet()
    pair = NetworkPair(average, student)
    step(student)
    for name in ('state_dict', 'named_parameters', 'named_buffers', 'named_modules', 'eval'):
        monkeypatch.setattr(nn.Module, name, fail)
    pair.average(0.5)
