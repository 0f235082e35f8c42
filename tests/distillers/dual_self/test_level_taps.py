"""Levels in order of depth, and the labels that supervise them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch
from kd_plugins.distillers.dual_self.level_taps import (
    branch_taps,
    check_labels,
    head_attribute,
    paths_of,
    read_levels,
    semantic_labels,
)
from kd_plugins.errors import ConfigError
from tests.distillers.dual_self.levels import sample


def maps(*sizes: int) -> list[Tensor]:
    return [torch.zeros(1, 2, size, size) for size in sizes]


def test_aliases_of_one_path_and_of_several() -> None:
    assert branch_taps('encoder', ['backbone.*']) == {'encoder': 'backbone.*'}
    assert branch_taps('encoder', ['a', 'b']) == {'encoder.0': 'a', 'encoder.1': 'b'}
    outputs = {'decoder': maps(4), 'encoder.0': maps(8), 'encoder.1': maps(4, 2)}
    assert [level.shape[-1] for level in read_levels(outputs, 'encoder', [])] == [8, 4, 2]
    assert [level.shape[-1] for level in read_levels(outputs, 'encoder', [2, 0])] == [2, 8]
    assert [level.shape[-1] for level in read_levels(outputs, 'decoder', [])] == [4]


@pytest.mark.parametrize(('value', 'paths'), [(None, []), ('a', ['a']), (['a', 'b'], ['a', 'b']), (('a',), ['a'])])
def test_paths(value: Any, paths: list[str]) -> None:
    assert paths_of('k', value) == paths


@pytest.mark.parametrize('value', [3, [''], ['a', 3], {'a': 1}])
def test_what_is_no_path(value: Any) -> None:
    with pytest.raises(ConfigError, match='k is .*; give a path, a list of paths, or None'):
        paths_of('k', value)
    with pytest.raises(ConfigError, match="k names 'a' twice"):
        paths_of('k', ['a', 'b', 'a'])


def test_labels_of_both_packages() -> None:
    labels = torch.arange(12).view(3, 4)
    mmdet = SimpleNamespace(gt_sem_seg={'sem_seg': labels[None].int()})
    batch = Batch(torch.zeros(2, 1, 3, 4), [sample(labels), mmdet])
    stacked = semantic_labels('k', batch, spatial=2)
    assert stacked is not None and stacked.dtype == torch.long and torch.equal(stacked, torch.stack([labels, labels]))
    assert semantic_labels('k', Batch(torch.zeros(1), [SimpleNamespace()]), 2) is None
    assert semantic_labels('k', Batch(torch.zeros(1), None), 2) is None


@pytest.mark.parametrize(
    ('samples', 'sentence'),
    [
        ([sample(torch.zeros(3, 4)), SimpleNamespace()], r'k: 1 of 2 samples have gt_sem_seg, of shape \(1, 3, 4\)'),
        (
            [sample(torch.zeros(3, 4)), sample(torch.zeros(4, 4))],
            r'of shape \(1, 3, 4\), \(1, 4, 4\); all must have it',
        ),
        ([sample(torch.zeros(2, 3, 4))] * 2, r'shape \(1, 2, 3, 4\) and the levels have 2 spatial axes'),
    ],
)
def test_labels_that_do_not_fit(samples: list[Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        semantic_labels('k', Batch(torch.zeros(2, 1, 3, 4), samples), spatial=2)


def test_labels_beyond_the_classes() -> None:
    check_labels('k', torch.tensor([[0, 2], [255, 1]]), 3, 255)
    for wrong in (3, -1, 254):
        with pytest.raises(ConfigError, match=str(wrong)):
            check_labels('k', torch.tensor([0, wrong]), 3, 255)


def test_attributes_of_the_last_head() -> None:
    model = nn.Module()
    model.decode_head = nn.ModuleList([nn.Module(), nn.Module()])
    model.decode_head[0].num_classes, model.decode_head[1].num_classes = 7, 19
    assert head_attribute(model, 'num_classes') == 19
    plain = nn.Module()
    plain.num_classes = 3
    assert head_attribute(plain, 'num_classes') == 3 and head_attribute(plain, 'ignore_index') is None
