"""Devices that count as accelerators, and waiting for the device in use."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kd_plugins.utils import device


@pytest.mark.parametrize(('name', 'expected'), [('cpu', False), ('mps', False), ('cuda', True), ('npu', True)])
def test_which_devices_are_accelerators(monkeypatch: pytest.MonkeyPatch, name: str, expected: bool) -> None:
    monkeypatch.setattr(device, 'get_device', lambda: name)
    assert device.has_accelerator() is expected


@pytest.mark.parametrize('name', ['cpu', 'cuda', 'npu'])
def test_waiting_asks_the_device_in_use(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    calls: list[str] = []
    monkeypatch.setattr(device, 'get_device', lambda: name)
    monkeypatch.setattr(torch, name, SimpleNamespace(synchronize=lambda: calls.append(name)), raising=False)
    device.synchronize()
    assert calls == [name]
