"""A second network with the student's weights: rebuilt from the config, or a checked copy."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import ConfigError
from kd_plugins.teachers.student_copy import second_network
from tests.teachers.networks import TinyNet, same, step


def checkpointed(module: nn.Module) -> None:
    """Replace ``forward`` by a function that is bound to the module, as activation checkpointing does."""
    forward = module.forward

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    module.forward = wrapped  # type: ignore[method-assign]


def trained() -> TinyNet:
    student = TinyNet()
    step(student)
    return student


def test_a_network_of_the_config_has_its_own_forward() -> None:
    student = trained()
    checkpointed(student.fc)
    made = second_network(student, TinyNet, 'teacher')
    assert same(made, student) and 'forward' not in vars(made.fc)
    inputs = torch.randn(4, 2)
    before = made.eval()(inputs)
    step(student)
    assert torch.equal(made(inputs), before), 'the layers of the student do not run'


def test_tensors_keep_format_and_dtype() -> None:
    class Images(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3)
            self.register_buffer('mean', torch.zeros(3), persistent=False)

    student = Images().to(memory_format=torch.channels_last).double()
    student.mean.fill_(7)
    made = second_network(student, Images, 'teacher')
    assert made.conv.weight.stride() == student.conv.weight.stride() and made.conv.weight.dtype == torch.float64
    assert torch.equal(made.mean, student.mean) and made.conv.weight.data_ptr() != student.conv.weight.data_ptr()


def test_a_buffer_that_appears_while_running_does_not_matter() -> None:
    student = trained()
    student.register_buffer('cache', torch.zeros(2), persistent=False)
    assert 'cache' not in dict(second_network(student, TinyNet, 'teacher').named_buffers())


def test_buffers_that_differ_are_on_the_device_of_the_student() -> None:
    class Grid(TinyNet):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer('grid', torch.zeros(3), persistent=False)
            self.register_buffer('other', torch.zeros(3), persistent=False)

    student = Grid().to('meta')
    student.grid = torch.zeros(5, device='meta')  # as for images of another size
    del student.other
    made = second_network(student, Grid, 'teacher')
    assert {tensor.device.type for tensor in (*made.parameters(), *made.buffers())} == {'meta'}
    assert made.grid.shape == (3,)


@pytest.mark.parametrize('build', [None, lambda: TinyNet(width=4), lambda: nn.Linear(2, 3), lambda: 1 / 0])
def test_otherwise_the_object_is_copied(build: Any) -> None:
    student = trained()
    student(torch.randn(8, 2)).sum().backward()
    made = second_network(student, build, 'teacher')
    assert same(made, student) and made.fc.weight is not student.fc.weight and made.fc.weight.grad is None
    assert student.fc.weight.grad is not None


@pytest.mark.parametrize('wrap', ['closure', 'partial', 'foreign method'])
def test_a_forward_that_the_copy_would_share_is_refused(wrap: str) -> None:
    student = trained()
    if wrap == 'closure':
        checkpointed(student.fc)
    else:
        forward = nn.Linear(2, 3).forward if wrap == 'foreign method' else functools.partial(student.fc.forward)
        student.fc.forward = forward  # type: ignore[method-assign]
    with pytest.raises(
        ConfigError,
        match=r"teachers.mean: 'fc' of the student has a forward .* got a model object instead of a config; ",
    ):
        second_network(student, None, 'teachers.mean')
    with pytest.raises(ConfigError, match="network of its config differs from it in 'fc.weight'"):
        second_network(student, lambda: TinyNet(width=4), 'teacher')


def test_foreign_hooks_are_refused_and_left_out_of_a_new_network() -> None:
    student, calls = trained(), []
    student.norm.register_forward_hook(lambda *call: calls.append('norm'))
    with pytest.raises(ConfigError, match="'norm' of the student has a forward hook of others that a copy would share"):
        second_network(student, None, 'teacher')
    second_network(student, TinyNet, 'teacher')(torch.randn(4, 2))
    assert not calls


def test_hooks_that_a_copy_owns_are_kept() -> None:
    class Doubling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.fc.register_forward_hook(self.double)

        def double(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
            return output * self.factor

        factor = 2.0

    student = Doubling()
    made = second_network(student, None, 'teacher')
    made.factor = 0.0
    assert made.fc(torch.ones(1, 2)).abs().sum() == 0 < student.fc(torch.ones(1, 2)).abs().sum()


@pytest.mark.parametrize('build', [TinyNet, None], ids=['config', 'object'])
def test_shared_modules_stay_those_of_the_student(build: Any) -> None:
    student = trained()
    made = second_network(student, build, 'teacher', {'fc': student.fc})
    assert made.fc is student.fc and made.norm is not student.norm and same(made, student)


def test_a_module_that_is_referred_to_twice_is_shared_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
            self.head = nn.ModuleDict({'first': self.backbone[0], 'own': nn.Linear(2, 2)})

    student = Twice()
    made = second_network(student, Twice, 'teacher', {'backbone': student.backbone})
    assert made.head['first'] is student.backbone[0] and made.head['own'] is not student.head['own']


def test_tied_tensors_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
            self.second.weight = self.first.weight

    made = second_network(Tied(), Tied, 'teacher')
    assert made.first.weight is made.second.weight
    untied = Tied()
    untied.second.weight = nn.Parameter(torch.zeros(2, 2))
    assert second_network(untied, Tied, 'teacher').second.weight.abs().sum() == 0
