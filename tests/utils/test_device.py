"""Devices that count as accelerators."""

from __future__ import annotations

import pytest

from kd_plugins.utils import device


@pytest.mark.parametrize(('name', 'expected'), [('cpu', False), ('mps', False), ('cuda', True), ('npu', True)])
def test_which_devices_are_accelerators(monkeypatch: pytest.MonkeyPatch, name: str, expected: bool) -> None:
    monkeypatch.setattr(device, 'get_device', lambda: name)
    assert device.has_accelerator() is expected
