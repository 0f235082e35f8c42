"""Heads recognised by the names of their classes."""

from __future__ import annotations

import pytest
from torch import nn

from kd_plugins.utils.head_types import has_distributions, is_a, lineage, roi_head, why_no_distribution


def named(name: str, *bases: type, **attributes: object) -> nn.Module:
    return type(name, bases or (nn.Module,), attributes)()


class BaseRoIHead(nn.Module):
    pass


@pytest.fixture
def model() -> nn.Module:
    model = nn.Module()
    model.roi_head = type('StandardRoIHead', (BaseRoIHead,), {})()
    model.roi_head.bbox_head = named('Shared2FCBBoxHead')
    model.dino = named('DINOHead')
    model.detr = named('CustomHead', type('DETRHead', (nn.Module,), {}))
    model.fdr = named('FDRDINOHead', type('FDRHead', (nn.Module,), {}))
    model.retina = named('RetinaHead')
    return model


def test_bases_count() -> None:
    assert is_a(nn.Conv2d(1, 1, 1), '_ConvNd') and not is_a(nn.Conv2d(1, 1, 1), 'ReLU')


def test_modules_on_a_path(model: nn.Module) -> None:
    assert lineage(model, 'roi_head.bbox_head') == [model, model.roi_head, model.roi_head.bbox_head]


def test_the_first_roi_head(model: nn.Module) -> None:
    assert roi_head(model) == ('roi_head', model.roi_head) and roi_head(nn.Sequential(nn.ReLU())) is None


def test_heads_with_distributions() -> None:
    assert has_distributions(named('GFLHead', reg_max=16, prior_generator=None))
    assert not has_distributions(named('FDRHead', reg_max=32)) and not has_distributions(nn.ReLU())


@pytest.mark.parametrize(
    ('path', 'words'),
    [
        (
            'fdr',
            r"nearest: QueryDistiller\(edge_weight=1.0\), .*logits='fdr.fdr.distributions",
        ),
        ('dino', r"nearest: model.type='kd_plugins.FDRDINO' with bbox_head.type='kd_plugins.FDRDINOHead'"),
        ('detr', 'for other DETRs there are QueryDistiller, .* and FeatureDistiller'),
        ('roi_head.bbox_head', 'whose proposals no other network shares by itself; nearest: RoIDistiller'),
        ('retina', 'GFLHead and LDHead do'),
    ],
)
def test_why_another_network_cannot_teach_a_head(model: nn.Module, path: str, words: str) -> None:
    import re

    assert re.search(words, why_no_distribution(model, path))
