"""One distiller of a config, by class and name."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from kd_plugins.config.distillers import build_distiller, distillers_of
from kd_plugins.distillers import LogitDistiller
from kd_plugins.errors import ConfigError

LOGIT = dict(type='kd_plugins.LogitDistiller', logits='head.cls')


def config(**distillers: Any) -> Config:
    return Config(dict(default_hooks=dict(distill=dict(type='kd_plugins.DistillHook', distillers=distillers))))


def test_the_only_one_needs_no_name() -> None:
    name, distiller = build_distiller(config(a=LOGIT, b=dict(LOGIT, type='kd_plugins.X')), 'LogitDistiller', None)
    assert name == 'a' and isinstance(distiller, LogitDistiller) and distiller.key == 'distillers.a'


def test_one_of_several_is_chosen_by_name() -> None:
    name, distiller = build_distiller(config(a=LOGIT, b=dict(LOGIT, logits='neck')), 'LogitDistiller', 'b')
    assert name == 'b' and 'neck' in distiller.student_taps().values()


def test_one_that_is_switched_off_does_not_count() -> None:
    assert list(distillers_of(config(a=LOGIT, b=None), 'LogitDistiller')) == ['a']


@pytest.mark.parametrize(
    ('distillers', 'name', 'sentence'),
    [
        ({}, None, "distillers has no 'kd_plugins.LogitDistiller'"),
        ({'a': None}, None, "distillers has no 'kd_plugins.LogitDistiller'"),
        ({'a': LOGIT, 'b': LOGIT}, None, "--distiller: .* several; valid: 'a', 'b'"),
        ({'logits': LOGIT}, 'logit', "--distiller: .*'logit'; nearest: 'logits'"),
        ({'a': dict(LOGIT, temprature=2)}, None, "distillers.a: LogitDistiller has no argument 'temprature'"),
    ],
)
def test_sentences(distillers: dict[str, Any], name: str | None, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_distiller(config(**distillers), 'LogitDistiller', name)


def test_a_config_without_the_hook() -> None:
    with pytest.raises(ConfigError, match="has no 'kd_plugins.LogitDistiller'"):
        distillers_of(Config({}), 'LogitDistiller')
