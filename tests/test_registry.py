"""Parts of the package are found by MMEngine's registries, also without ``custom_imports``."""

from __future__ import annotations

from importlib import import_module

import pytest
from mmengine import registry as mmengine_registry

from kd_plugins import registry

NAMES = ('DATASETS', 'HOOKS', 'METRICS', 'MODELS', 'TASK_UTILS', 'TRANSFORMS')


@pytest.mark.parametrize('name', NAMES)
def test_registries_are_children_of_mmengine(name: str) -> None:
    child = getattr(registry, name)
    assert child.scope == 'kd_plugins' and child.parent is getattr(mmengine_registry, name)
    for location in child._locations:
        import_module(location)
    assert child.module_dict


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('MODELS', 'LocalizationDistiller'),
        ('MODELS', 'PointwiseAdapter'),
        ('MODELS', 'SoftmaxKLLoss'),
        ('MODELS', 'VolumetricSegmentor'),
        ('HOOKS', 'DistillHook'),
        ('TASK_UTILS', 'EMATeacher'),
        ('TASK_UTILS', 'LinearWarmup'),
        ('DATASETS', 'NiftiDataset'),
        ('TRANSFORMS', 'PackVolume'),
        ('METRICS', 'VolumetricMetric'),
    ],
)
def test_mmengine_finds_every_kind_of_part(name: str, kind: str) -> None:
    found = getattr(mmengine_registry, name).get(f'kd_plugins.{kind}')
    assert found is not None and found.__module__.startswith('kd_plugins.')


def test_the_list_of_names_is_complete() -> None:
    assert sorted(registry.__all__) == sorted(NAMES)
