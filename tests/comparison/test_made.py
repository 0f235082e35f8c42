"""Imports of a control that takes types from another config."""

from __future__ import annotations

from mmengine.config import Config

from kd_plugins.comparison.made import Made, import_as


def test_a_control_imports_what_both_configs_import() -> None:
    config = Config({'custom_imports': {'imports': 'mine', 'allow_failed_imports': True}})
    other = Config({'custom_imports': {'imports': ['theirs', 'mine']}})
    import_as(config, other)
    assert config.custom_imports == {'imports': ['mine', 'theirs'], 'allow_failed_imports': False}
    plain = Config({})
    import_as(plain, Config({}))
    assert 'custom_imports' not in plain
    assert Made(plain, 'a control').remarks == []
