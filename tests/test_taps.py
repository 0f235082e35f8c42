"""Taps: recorded tensors, their order, and errors."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from kd_plugins.errors import ConfigError, TapError
from kd_plugins.taps import TapSet, match_modules, match_parameters, module_at


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
        self.shared = nn.Linear(2, 2)
        self.unused = nn.Linear(2, 2)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        # In reverse order, so that module order and call order differ.
        return [self.shared(scale(x)) for scale in reversed(self.scales)]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = Head()
        self.norm = nn.LayerNorm(2)

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        outputs = self.head(self.norm(x))
        return {'outputs': tuple(outputs), 'activated': self.head.act(outputs[0])}


def recorded(model: nn.Module, **paths: str) -> TapSet:
    taps = TapSet(model, {f'distillers.a.{name}': path for name, path in paths.items()})
    taps.start()
    model(torch.ones(1, 2))
    taps.stop()
    return taps


def test_pattern_lists_modules_in_module_order() -> None:
    model = Net()
    outputs = recorded(model, x='head.scales.*').read('head.scales.*')
    expected = [scale(model.norm(torch.ones(1, 2))) for scale in model.head.scales]
    assert len(outputs) == 3
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected))


def test_module_called_several_times_lists_its_calls() -> None:
    assert len(recorded(Net(), x='norm').read('norm')) == 1
    model = Net()
    model.head.act = nn.ReLU()
    assert len(recorded(model, x='head.shared').read('head.shared')) == 3
    assert len(recorded(model, x='head').read('head')) == 3, 'a list output is flattened'


def test_star_is_one_segment() -> None:
    with pytest.raises(ConfigError, match="distillers.a.x: 'head.*.nothing' names no module of the student"):
        TapSet(Net(), {'distillers.a.x': 'head.*.nothing'})
    assert len(TapSet(Net(), {'x': 'head.s*'})._members['head.s*']) == 2


def test_wrong_path_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'head.shared.' names no module of the student; nearest: 'head.shared'"):
        TapSet(Net(), {'distillers.a.x': 'head.shared.'})
    with pytest.raises(ConfigError, match=r"'head.shard' names no module of the teacher; nearest: 'head.shared'"):
        TapSet(Net(), {'distillers.a.x': 'head.shard'}, 'teacher')


def test_a_tap_that_never_fired_is_an_error_that_lists_those_that_did() -> None:
    taps = recorded(Net(), x='head.unused', y='norm')
    with pytest.raises(TapError, match=r"distillers.a.x: 'head.unused' exists .* never ran .* taps that fired: 'norm'"):
        taps.read('head.unused')


def test_overwritten_output_is_an_error() -> None:
    taps = recorded(Net(), x='head.shared')
    with pytest.raises(TapError, match="'head.shared' was overwritten after it ran"):
        taps.read('head.shared')


def test_nothing_is_kept_outside_start_and_stop() -> None:
    model = Net()
    taps = recorded(model, x='norm')
    model(torch.ones(1, 2))
    assert len(taps.read('norm')) == 1
    taps.clear()
    assert taps.shapes() == {'norm': []}


def test_remove_restores_the_model() -> None:
    model = Net()
    taps = TapSet(model, {'x': 'norm', 'y': 'head.scales.*'})
    taps.remove()
    assert not any(module._forward_hooks for module in model.modules())


def test_a_shared_module_has_several_names() -> None:
    model = nn.Module()
    model.first, model.second = nn.Linear(2, 2), nn.Linear(2, 2)
    model.head = nn.ModuleList([model.second, model.first, model.second])
    assert [name for name, _ in match_modules(model, 'head.2', 'key')] == ['head.2']
    # One that a path names several times is tapped once, in the order of the first name.
    assert [name for name, _ in match_modules(model, 'head.*', 'key')] == ['head.0', 'head.1']
    taps = TapSet(model, {'key': 'head.2'})
    taps.start()
    model.head[0](torch.zeros(1, 2))
    assert len(taps.read('head.2')) == 1


class Stages(nn.Module):
    """Three layers, of which the last writes down that it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.third = nn.Linear(2, 2)
        self.ran: list[str] = []
        self.third.register_forward_hook(lambda *call: self.ran.append('third'))

    def forward(self, x: torch.Tensor, calls: int = 2) -> torch.Tensor:
        try:
            for _ in range(calls):
                x = self.second(self.first(x))
        except Exception:
            self.ran.append('caught')
        return self.third(x)


def test_a_pass_ends_after_its_last_tap() -> None:
    model = Stages()
    taps = TapSet(model, {'a': 'first', 'b': 'second'})
    for expected in (['third'], ['third'], ['third']):
        with taps.forward_pass(ends_early=True):
            model(torch.ones(1, 2))
        assert model.ran == expected and len(taps.read('first')) == len(taps.read('second')) == 2
        assert not taps.recording
    with taps.forward_pass(ends_early=False):
        model(torch.ones(1, 2))
    assert model.ran == ['third', 'third']


def test_a_pass_with_fewer_calls_runs_to_its_end() -> None:
    model = Stages()
    taps = TapSet(model, {'a': 'second'})
    for calls, ran in ((2, 1), (2, 1), (1, 2), (3, 2)):
        with taps.forward_pass(ends_early=True):
            model(torch.ones(1, 2), calls)
        assert len(model.ran) == ran and len(taps.read('second')) == min(calls, 2)


def test_a_set_without_taps_never_ends_a_pass() -> None:
    model = Stages()
    taps = TapSet(model, {})
    for _ in range(2):
        with taps.forward_pass(ends_early=True):
            model(torch.ones(1, 2))
    assert model.ran == ['third', 'third'] and taps.recorded() == []


def test_an_error_of_the_network_passes() -> None:
    model = Stages()
    taps = TapSet(model, {'a': 'third'})
    with pytest.raises(RuntimeError, match='shapes'), taps.forward_pass(ends_early=True):
        model(torch.ones(1, 3), 0)
    assert not taps.recording
    with taps.forward_pass(ends_early=True):
        model(torch.ones(1, 2))
    assert len(taps.read('third')) == 1


def test_copies_in_the_usual_memory_format() -> None:
    model = nn.Sequential(nn.Identity())
    taps = TapSet(model, {'a': '0'})
    images = torch.randn(1, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    with taps.forward_pass(ends_early=True):
        model(images)
    assert taps.read('0')[0] is images
    taps.contiguous = True
    copied = taps.read('0')[0]
    assert copied.is_contiguous() and torch.equal(copied, images)
    assert taps.read('0')[0] is copied is taps.recorded()[0], 'the tensor itself is not kept'


class Tokens(nn.Module):
    """Tokens of a 2x3x2 grid after a class token; a token's first channel is its number."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        numbers = torch.arange(-1.0, 12).view(1, 13, 1)
        return self.norm(numbers * torch.tensor([1.0, 10.0]) * x)


def test_tokens_become_a_map() -> None:
    model, x = Tokens(), torch.ones(2, 1, 1, requires_grad=True)
    taps = TapSet(model, {'a': 'norm', 'b': 'norm@1+2x3x2'})
    taps.start()
    model(x)
    (tokens,), (grid,) = taps.read('norm'), taps.read('norm@1+2x3x2')
    assert tokens.shape == (2, 13, 2) and grid.shape == (2, 2, 2, 3, 2) and grid.is_contiguous()
    assert taps.shapes() == {'norm': [(2, 13, 2)], 'norm@1+2x3x2': [(2, 2, 2, 3, 2)]}
    # The order of a transformer's patch embedding, a convolution whose output is flattened.
    embedded = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(grid[0, 0], embedded) and torch.equal(grid[1, 1], 10 * embedded)
    (gradient,) = torch.autograd.grad(grid.sum(), x)
    assert gradient.flatten().tolist() == [66 * 11, 66 * 11], 'the class token takes no part'


def test_tokens_that_are_not_the_grid_are_an_error() -> None:
    sentence = (
        r"distillers.a.x: 'norm' gives \(2, 13, 2\), and 'norm@2x3x2' needs tokens of shape \(N, 12, C\); the axes "
        r"after '@' multiply to the number of tokens, after those that 'K\+' leaves out"
    )
    model = Tokens()
    taps = TapSet(model, {'distillers.a.x': 'norm@2x3x2'})
    taps.start()
    model(torch.ones(2, 1, 1))
    with pytest.raises(TapError, match=sentence):
        taps.read('norm@2x3x2')
    with pytest.raises(TapError, match=r"'norm' gives \(1, 2\), and 'norm@2x1'"):
        recorded(Net(), x='norm@2x1').read('norm@2x1')


@pytest.mark.parametrize('grid', ['', '4', '2x', '0x2', '2x2x2x2', '+2x2', 'axb', '1+2'])
def test_a_grid_that_cannot_be_read_is_an_error(grid: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"distillers.a.x: 'norm@{re.escape(grid)}' ends in .*; valid: a grid of two"
    ):
        TapSet(Tokens(), {'distillers.a.x': f'norm@{grid}'})


class Activated(nn.Module):
    """A layer whose output an activation overwrites, and a call with arguments by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.Bilinear(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(input2=x, input1=self.act(self.layer(x)))


def test_inputs_and_copies() -> None:
    model, x = Activated(), torch.tensor([[1.0, -2.0]], requires_grad=True)
    paths = {'a': 'act:in.0:copy', 'b': 'layer:copy', 'c': 'pool:in.1', 'd': 'pool:in.input1', 'e': 'act'}
    taps = TapSet(model, paths)
    taps.start()
    model(x)
    taps.stop()
    before = model.layer(x)
    for alias in ('a', 'b'):
        torch.testing.assert_close(taps.read(paths[alias])[0], before)
        (gradient,) = torch.autograd.grad(taps.read(paths[alias])[0].sum(), x, retain_graph=True)
        torch.testing.assert_close(gradient[0], model.layer.weight.sum(dim=0))
    assert taps.read('pool:in.1')[0] is x
    assert taps.read('pool:in.input1')[0] is taps.read('act')[0]
    assert taps.shapes()['act:in.0:copy'] == [(1, 2)]
    taps.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_overwritten_input_is_an_error() -> None:
    taps = TapSet(Activated(), {'distillers.a.x': 'act:in.0'})
    with taps.forward_pass(ends_early=False):
        taps._members['act:in.0'][0][1](torch.ones(1, 2))
    with pytest.raises(TapError, match="the input of 'act:in.0' was overwritten .* or end the tap in ':copy'"):
        taps.read('act:in.0')


def test_a_pass_ends_before_the_module_of_its_last_tap() -> None:
    model = Stages()
    taps = TapSet(model, {'a': 'first', 'b': 'third:in.0'})
    for expected in (['third'], ['third']):
        with taps.forward_pass(ends_early=True):
            model(torch.ones(1, 2))
        assert model.ran == expected and len(taps.read('third:in.0')) == 1


def test_an_argument_that_is_none_gives_a_tensor_without_elements() -> None:
    """The number of tensors then stays the same where a mask is None in some batches."""

    class Masked(nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            return x if mask is None else x * mask

    model = nn.ModuleDict({'masked': Masked()})
    taps = TapSet(model, {'a': 'masked:in.mask'})
    for mask in (None, torch.ones(2)):
        with taps.forward_pass(ends_early=False):
            model['masked'](torch.ones(2), mask=mask)
        (recorded,) = taps.read('masked:in.mask')
        assert recorded.numel() == (0 if mask is None else 2)


def test_a_path_without_a_pattern() -> None:
    model = Net()
    assert module_at(model, 'head.shared', 'key') is model.head.shared
    with pytest.raises(ConfigError, match=r"^key: 'head.shard' names no module of the teacher; nearest: 'head.shared'"):
        module_at(model, 'head.shard', 'key', 'teacher')
    with pytest.raises(ConfigError, match='names no module of the student'):
        module_at(model, 'head.*', 'key')


def test_parameters_are_read_without_a_call() -> None:
    model = Net()
    taps = TapSet(model, {'a': 'param:head.scales.*.weight', 'b': 'param:**.bias', 'c': 'norm'})
    weights = [scale.weight for scale in model.head.scales]
    assert all(one is other for one, other in zip(taps.read('param:head.scales.*.weight'), weights, strict=True))
    assert len(taps.read('param:**.bias')) == 6 and taps.tensors('param:head.scales.*.weight') == weights
    assert taps.shapes()['param:head.scales.*.weight'] == [(2, 2)] * 3
    assert not taps.parameters_only and taps.recorded() == []
    only = TapSet(model, {'a': 'param:norm.*'})
    assert only.parameters_only and only.empty and not model.norm._backward_hooks
    taps.remove()
    assert not model.norm._forward_hooks


def test_a_shared_parameter_is_named_once() -> None:
    model = Net()
    model.head.unused.weight = model.head.shared.weight
    names = [name for name, _ in match_parameters(model, 'head.**', 'key')]
    assert len(names) == 9 and 'head.unused.weight' not in names
    assert [name for name, _ in match_parameters(model, 'head.unused.weight', 'key')] == ['head.unused.weight']


def test_parameters_that_do_not_exist() -> None:
    with pytest.raises(
        ConfigError, match="a.b: 'param:norm.wieght' names no parameter of the student; .*'norm.weight'"
    ):
        TapSet(Net(), {'a.b': 'param:norm.wieght'})
    with pytest.raises(
        ConfigError, match=r"nearest: 'param:\*\*.0.bias', which names 1, as '\*\*' stands for any number"
    ):
        TapSet(Net(), {'a.b': 'param:*.0.bias'})
