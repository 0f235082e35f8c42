"""Paths of taps: the module, what is recorded of its calls, and the grid of its tokens; or parameters.

A tap is ``MODULE[:in.ARGUMENT][:copy][@GRID]`` or ``param:PARAMETERS``:

* ``MODULE`` alone records the output of each call.
* ``roi_head.bbox_roi_extractor:in.1`` records the second argument of each call, ``decoder:in.query`` that of a name. It
  is what the module got, before it runs.
* ``bbox_head.cls_convs.2.activate:in.0:copy`` records a copy, for a tensor that the network overwrites later, as an
  activation with ``inplace=True`` does. Gradients go through the copy.
* A grid after ``@`` turns tokens (N, L, C) into a map (N, C, *grid): ``backbone.norm@14x14``. Tokens before those of
  the grid, such as a class token, are counted and left out: ``backbone.norm@1+14x14``.
* ``param:backbone.layers.*.attn.qkv.weight`` reads the weights themselves, without a call of a module; ``**`` stands
  for any number of segments: ``param:backbone.**``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn

from .errors import ConfigError, TapError
from .utils.argument_types import shown

PARAMETERS = 'param:'
"""Start of a tap that reads parameters."""
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class TokenGrid:
    """Grid of the tokens of a transformer.

    Attributes:
        leading: Number of tokens before those of the grid.
        axes: Size of each spatial axis.
    """

    leading: int
    axes: tuple[int, ...]

    @classmethod
    def split(cls, path: str, key: str) -> tuple[str, TokenGrid | None]:
        """Return the path of the module in a tap, and the grid if the tap gives one.

        Args:
            path: The tap.
            key: Config key for the error sentence.

        Raises:
            ConfigError: If the text after ``@`` is no grid.

        >>> TokenGrid.split('vit.norm@1+14x7', 'key')
        ('vit.norm', TokenGrid(leading=1, axes=(14, 7)))
        """
        module, at, text = path.partition('@')
        if not at:
            return path, None
        match = re.fullmatch(r'(?:(\d+)\+)?([1-9]\d*(?:x[1-9]\d*){1,2})', text)
        if match is None:
            raise ConfigError(
                f"{key}: '{path}' ends in '@{text}'; valid: a grid of two or three axes, such as '@14x14', or "
                "'@1+14x14' with one token before it"
            )
        return module, cls(int(match[1] or 0), tuple(int(axis) for axis in match[2].split('x')))

    @property
    def tokens(self) -> int:
        """Number of tokens, with those before the grid."""
        return self.leading + math.prod(self.axes)

    def map_of(self, tokens: Tensor) -> Tensor:
        """Return a view (N, C, *axes) of tokens (N, L, C), the last axis of the grid running fastest.

        >>> import torch
        >>> TokenGrid(1, (2, 2)).map_of(torch.arange(5.0).view(1, 5, 1))[0, 0].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
        """
        return tokens[:, self.leading :].transpose(1, 2).unflatten(2, self.axes)


@dataclass(frozen=True)
class TapPath:
    """A tap, read from its text.

    Attributes:
        module: Path of the module, or of several; with ``parameters`` that of the parameters.
        argument: Position or name of the argument that is recorded, None for the output.
        copy: Whether a copy is recorded.
        grid: Grid of the tokens, None where there is none.
        parameters: Whether parameters are read, and no call of a module.
    """

    module: str
    argument: str | None = None
    copy: bool = False
    grid: TokenGrid | None = None
    parameters: bool = False

    @classmethod
    def parse(cls, path: str, key: str) -> TapPath:
        """Return a tap.

        Args:
            path: Its text.
            key: Config key for the error sentence.

        Raises:
            ConfigError: If the text after ``:`` or ``@`` cannot be read.

        >>> TapPath.parse('head.conv:in.0:copy', 'key')
        TapPath(module='head.conv', argument='0', copy=True, grid=None, parameters=False)
        """
        if path.startswith(PARAMETERS):
            names = path.removeprefix(PARAMETERS)
            if not names or re.search('[:@]', names):
                raise ConfigError(
                    f"{key}: '{path}' names no parameters; valid: '{PARAMETERS}' and a path such as "
                    f"'{PARAMETERS}backbone.layers.*.attn.qkv.weight' or '{PARAMETERS}backbone.**', without ':' and '@'"
                )
            return cls(names, parameters=True)
        whole, grid = TokenGrid.split(path, key)
        module, colon, end = whole.partition(':')
        match = re.fullmatch(r'in\.(\d+|[^\W\d]\w*)(:copy)?|(copy)|', end)
        if match is None or (colon and not end):
            raise ConfigError(
                f"{key}: '{path}' ends in ':{end}'; valid: ':in.0' or ':in.NAME' for an argument of the call, ':copy' "
                "for a copy, and both, ':in.0:copy'"
            )
        return cls(module, match[1], bool(match[2] or match[3]), grid)

    @property
    def recorded(self) -> str:
        """The part of the text that says what is recorded of a call.

        >>> TapPath('head', '0', copy=True).recorded
        ':in.0:copy'
        """
        return ('' if self.argument is None else f':in.{self.argument}') + (':copy' if self.copy else '')


def check_parameter_taps(key: str, value: Any) -> list[str]:
    """Return a list of taps on parameters.

    Args:
        key: Config key of the part whose ``parameters`` they are, for the error sentence.
        value: ``parameters`` in the config, a tap or a list of taps.

    Raises:
        ConfigError: If it is neither.

    >>> check_parameter_taps('key', 'param:backbone.**')
    ['param:backbone.**']
    """
    paths = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else []
    wrong = next((one for one in paths if not isinstance(one, str) or not one.startswith(PARAMETERS)), None)
    if wrong is not None or not paths:
        example = f'{PARAMETERS}{wrong}' if isinstance(wrong, str) else f'{PARAMETERS}backbone.**'
        raise ConfigError(f'{key}.parameters is {shown(value)}, which names no parameters; nearest: {example!r}')
    for path in paths:
        TapPath.parse(path, f'{key}.parameters')
    return paths


def argument_of(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], argument: str, name: str) -> Any:
    """Return one argument of a module's call, whether it was passed by position or by keyword.

    Args:
        module: The module.
        args: Positional arguments.
        kwargs: Keyword arguments.
        argument: Position, such as ``'1'``, or name.
        name: Name of the tap, for the error sentence.

    Raises:
        TapError: If the call has no such argument.

    >>> layer = nn.Bilinear(1, 1, 1)
    >>> [argument_of(layer, (10,), {'input2': 20}, argument, 'x') for argument in ('0', '1', 'input1', 'input2')]
    [10, 20, 10, 20]
    """
    position = int(argument) if argument.isdigit() else None
    if position is not None and position < len(args):
        return args[position]
    if argument in kwargs:
        return kwargs[argument]
    names = [
        label for label, parameter in signature(module.forward).parameters.items() if parameter.kind in _POSITIONAL
    ]
    if position is not None and position < len(names) and names[position] in kwargs:
        return kwargs[names[position]]
    if position is None and argument in names[: len(args)]:
        return args[names.index(argument)]
    given = ', '.join([f'{len(args)} by position', *(f"'{keyword}'" for keyword in kwargs)])
    raise TapError(f"'{name}': the call has no argument {argument}; it has {given}")
