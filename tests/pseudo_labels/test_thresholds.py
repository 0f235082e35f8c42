"""Thresholds of classes: lookups, names, queues and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from kd_plugins.errors import ConfigError
from kd_plugins.pseudo_labels.thresholds import AdaptiveThresholds, FixedThresholds, build_thresholds


def test_fixed_thresholds() -> None:
    thresholds = build_thresholds({'cat': 0.75, 2: 0.25, 'others': 0.5}, 'score_thr')
    thresholds.bind(['dog', 'cat', 'cow'])
    thresholds.update(torch.ones(3), torch.zeros(3))
    assert thresholds.of(torch.tensor([0, 1, 2, 1])).tolist() == [0.5, 0.75, 0.25, 0.75]
    assert thresholds.values() == {} and thresholds.state_dict() == {} and not thresholds.expected
    assert thresholds.of(torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_every_class_needs_a_threshold() -> None:
    with pytest.raises(ConfigError, match="names the class 'cet'; nearest: 'cat'"):
        FixedThresholds({'cet': 0.5, 'others': 0.5}, 'score_thr').bind(['dog', 'cat'])
    with pytest.raises(ConfigError, match="has no threshold for the class 'dog'; nearest: others=0.7"):
        FixedThresholds({'cat': 0.5}, 'score_thr').bind(['dog', 'cat'])
    with pytest.raises(ConfigError, match='has no threshold for the class 3'):
        FixedThresholds({0: 0.5}, 'score_thr').of(torch.tensor([0, 3]))


def test_queues_are_bounded_and_hold_the_last_scores() -> None:
    thresholds = AdaptiveThresholds(queue=4, initial=0.3)
    assert thresholds.of(torch.tensor([0, 5])).tolist() == [0.3, 0.3]
    thresholds.update(torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0, 0, 1]))
    assert thresholds.values() == {0: 0.3, 1: 0.3}
    thresholds.update(torch.tensor([0.25, 0.75, 0.5]), torch.tensor([0, 0, 0]))
    queued = thresholds.state_dict()['scores']
    torch.testing.assert_close(queued[0], torch.tensor([0.2, 0.25, 0.75, 0.5]).double())
    assert thresholds.values()[0] in (0.25, 0.5, 0.75) and thresholds.values()[1] == 0.3
    thresholds.update(torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert thresholds.state_dict()['scores'].keys() == {0, 1}


def test_a_restored_queue_has_the_length_of_this_run() -> None:
    thresholds = AdaptiveThresholds(queue=6)
    thresholds.update(torch.linspace(0, 1, 6), torch.zeros(6, dtype=torch.long))
    shorter = AdaptiveThresholds(queue=4)
    shorter.load_state_dict(thresholds.state_dict())
    assert len(shorter.state_dict()['scores'][0]) == 4 and shorter.values() == thresholds.values()


def test_a_queue_that_was_read_onto_an_accelerator_goes_on() -> None:
    """A device without values stands for the accelerator."""
    thresholds = AdaptiveThresholds(queue=4)
    with FakeTensorMode():
        thresholds.load_state_dict({'scores': {0: torch.zeros(3, device='meta')}, 'values': {0: 0.5}})
        queue = thresholds.state_dict()['scores'][0]
        assert queue.device.type == 'cpu'
        torch.cat([queue, torch.zeros(2).double()])


@pytest.mark.parametrize('value', ['0.7', None, True, float('nan'), -0.1])
def test_numbers_that_do_not_fit(value: object) -> None:
    with pytest.raises(ConfigError, match='score_thr is'):
        build_thresholds(value, 'score_thr')
