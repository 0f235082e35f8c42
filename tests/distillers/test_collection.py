"""Several distillers as one module: active ones run, the others give zeros with a gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import BaseDistiller, Batch
from kd_plugins.distillers.collection import DistillerCollection, Term, check_names
from kd_plugins.errors import ConfigError

BATCH = Batch(torch.zeros(2, 3), ['a', 'b'])


class Scaled(BaseDistiller):
    loss_names = ('loss_a', 'loss_b')

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        super().__init__(key='distillers.one')
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.values = values

    def forward(self, student_outputs: Any, teacher_outputs: Any, batch: Batch) -> dict[str, Tensor]:
        if self.values is not None:
            return self.values
        total = self.scale * student_outputs['x'].sum()
        return {'loss_b': total, 'loss_a': 2 * total}


def outputs(*names: str) -> dict[str, Any]:
    return {name: {'x': torch.ones(2)} for name in names}


def test_terms_know_their_key_and_weighted_value() -> None:
    term = Term('one', 'loss_a', torch.tensor(4.0), 0.25)
    assert (term.key, float(term.weighted)) == ('distill.one.loss_a', 1.0)
    assert term.weighted is term.weighted


def test_losses_in_the_order_in_which_they_are_declared() -> None:
    collection = DistillerCollection({'one': Scaled(), 'two': Scaled()})
    losses = collection(outputs('one', 'two'), outputs('one', 'two'), BATCH, ['one', 'two'])
    assert list(losses) == [('one', 'loss_a'), ('one', 'loss_b'), ('two', 'loss_a'), ('two', 'loss_b')]
    assert losses['one', 'loss_a'] == 12


def test_inactive_distillers_give_zeros_that_reach_their_parameters() -> None:
    collection = DistillerCollection({'one': Scaled(), 'two': Scaled()})
    losses = collection(outputs('one'), outputs('one'), BATCH, ['one'])
    torch.stack(list(losses.values())).sum().backward()
    first, second = (member.scale.grad for _, member in collection.items())
    assert first == 6 and second == 0, 'every rank reduces the same gradients'


def test_zeros_without_a_graph() -> None:
    zeros = DistillerCollection({'one': Scaled()}).zeros(torch.device('cpu'))
    assert zeros == {('one', 'loss_a'): 0, ('one', 'loss_b'): 0}
    assert not any(value.requires_grad for value in zeros.values())


@pytest.mark.parametrize(
    'values',
    [
        {'loss_a': torch.tensor(1.0)},
        {'loss_a': torch.tensor(1.0), 'loss_c': torch.tensor(1.0)},
        {'loss_a': torch.tensor(1.0), 'loss_b': torch.ones(2)},
    ],
    ids=['missing', 'other', 'vector'],
)
def test_other_losses_than_declared_are_refused(values: dict[str, Tensor]) -> None:
    collection = DistillerCollection({'one': Scaled(values)})
    with pytest.raises(ConfigError, match=r"distillers.one: Scaled returned .*; it declares \('loss_a', 'loss_b'\)"):
        collection(outputs('one'), outputs('one'), BATCH, ['one'])


@pytest.mark.parametrize('inputs', [torch.zeros(2), [torch.zeros(1)], {'points': [torch.zeros(1)]}, None, [], {}])
def test_any_kind_of_inputs_tells_the_device(inputs: Any) -> None:
    collection = DistillerCollection({'one': Scaled()})
    losses = collection({}, {}, Batch(inputs, ['a']), [])
    assert all(value.device.type == 'cpu' and value == 0 for value in losses.values())


@pytest.mark.parametrize('name', ['', 1, None, ('a',)], ids=repr)
def test_names_that_no_module_can_have_are_refused(name: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^distillers: the name .* is not a valid one; use a word such as 'features'$"
    ):
        check_names({name: Scaled()})


def test_distillers_on_unlabelled_images_get_their_batch() -> None:
    seen: dict[str, Batch] = {}
    members = {'one': Scaled(), 'other': Scaled()}
    members['other'].on = 'unlabelled'
    for name, member in members.items():
        member.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[2]}))
    unlabelled = Batch(torch.ones(3, 3), None)
    names = ['one', 'other']
    DistillerCollection(members)(outputs(*names), outputs(*names), BATCH, names, unlabelled)
    assert seen == {'one': BATCH, 'other': unlabelled}
