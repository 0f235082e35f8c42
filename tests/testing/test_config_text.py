"""Texts of configs that nobody lays out."""

from __future__ import annotations

import pytest
from mmengine.config import Config, config

from kd_plugins.testing.config_text import leave_texts_as_they_are


def test_settings_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, 'FormatCode', config.FormatCode)  # restored at the end
    leave_texts_as_they_are()
    settings = {'model': {'type': 'GFL', 'sizes': [(1, 2), (3, 4)], 'weights': {'0': 1.5, 'b c': None}}, 'x': 'a\n"b"'}
    text = Config(settings).pretty_text
    assert Config.fromstring(text, '.py').to_dict() == settings
