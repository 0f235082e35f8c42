"""Paths of taps: what their end says, and arguments of calls."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.errors import ConfigError, TapError
from kd_plugins.tap_paths import TapPath, TokenGrid, argument_of


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a.b', TapPath('a.b')),
        ('a.*:in.0', TapPath('a.*', '0')),
        ('a:in.rois', TapPath('a', 'rois')),
        ('a:copy', TapPath('a', copy=True)),
        ('a:in.x_1:copy@2x3', TapPath('a', 'x_1', True, TokenGrid(0, (2, 3)))),
    ],
)
def test_parse(text: str, expected: TapPath) -> None:
    tap = TapPath.parse(text, 'key')
    assert tap == expected
    assert text.startswith(tap.module + tap.recorded)


@pytest.mark.parametrize('end', ['', 'in', 'in.', 'in.1x', 'in.a.b', 'out', 'copy:in.0', 'in.0copy', ':copy', 'in.0:'])
def test_an_end_that_cannot_be_read_is_an_error(end: str) -> None:
    with pytest.raises(ConfigError, match=rf"distillers.a.x: 'm:{re.escape(end)}' ends in ':{re.escape(end)}'; valid"):
        TapPath.parse(f'm:{end}', 'distillers.a.x')


def test_parameters() -> None:
    assert TapPath.parse('param:backbone.**.qkv.weight', 'key') == TapPath('backbone.**.qkv.weight', parameters=True)
    for text in ('param:', 'param:a:copy', 'param:a@2x2'):
        with pytest.raises(
            ConfigError, match=rf"distillers.a.x: '{text}' names no parameters; valid: 'param:' and a path"
        ):
            TapPath.parse(text, 'distillers.a.x')


class Layer(nn.Module):
    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        return x * scale


def test_arguments() -> None:
    layer, x = Layer(), torch.ones(1)
    for args, kwargs in (((x,), {'scale': 2.0}), ((), {'x': x, 'scale': 2.0})):
        assert argument_of(layer, args, kwargs, '0', 'layer') is x
        assert argument_of(layer, args, kwargs, 'x', 'layer') is x
        assert argument_of(layer, args, kwargs, 'scale', 'layer') == 2.0
    for argument in ('1', 'scale', 'y'):
        with pytest.raises(TapError, match=f"'layer:in': the call has no argument {argument}; it has 1 by position"):
            argument_of(layer, (x,), {}, argument, 'layer:in')
