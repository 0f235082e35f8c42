"""A second network of a run's config."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.hooks.building import model_builder
from tests.teachers.networks import TinyNet


def runner(model: Any) -> Any:
    return SimpleNamespace(cfg=Config(dict(model=model)), default_scope=SimpleNamespace(scope_name='mmengine'))


def test_the_config_is_built_and_stays_as_it_was() -> None:
    run = runner(dict(type='kd_plugins.TinyNet', width=5))
    build = model_builder(run)
    first, second = build(), build()
    assert isinstance(first, TinyNet) and first is not second and first.fc.out_features == 5
    assert run.cfg.model == dict(type='kd_plugins.TinyNet', width=5)


@pytest.mark.parametrize('config', [{}, {'model': None}])
def test_without_a_config_there_is_no_builder(config: dict[str, Any]) -> None:
    assert model_builder(SimpleNamespace(cfg=Config(config))) is None
