"""Paths of the layers whose outputs are the feature maps that a head reads, found by running the network once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ..taps import flatten, match_modules

MAP_MAKERS = ('neck', 'pts_neck', 'img_neck', 'backbone', 'pts_backbone', 'img_backbone')
"""Parts of an OpenMMLab model whose outputs a head reads, the part nearest to the head first."""


class CallTrace:
    """Outputs of every module of a network in one forward pass.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.outputs: dict[str, list[Tensor]] = {}
        """Name of a module to the tensors of its last call, in the order in which the modules ended."""

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls inside the ``with`` block."""
        handles = [
            module.register_forward_hook(self._recorder(name)) for name, module in self.model.named_modules() if name
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _recorder(self, name: str) -> Any:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            self.outputs[name] = flatten(output)

        return record

    def feature_tap(self) -> str | None:
        """Return the tap of the maps that the head reads, None for a network without the parts in :data:`MAP_MAKERS`.

        The maps are the outputs of the first part that the network has. A map that is computed outside of any module,
        for example by pooling, has no layer and is left out; where this holds for all maps, the part itself is the tap.
        """
        part = self._maker()
        if part is None:
            return None
        names = [name for name, _ in self._layers(part)]
        return _common_tap(self.model, list(dict.fromkeys(names))) or part

    def level_tap(self, rows: int) -> str | None:
        """Return the layer that gives the map with a number of rows to the head, None where no layer does.

        Args:
            rows: Rows of the map.

        Of several such layers, the first is taken.
        """
        part = self._maker()
        layers = self._layers(part) if part else []
        return next((name for name, level in layers if level.ndim == 4 and level.shape[2] == rows), None)

    def _maker(self) -> str | None:
        return next((name for name in MAP_MAKERS if name in self.outputs), None)

    def _layers(self, part: str) -> list[tuple[str, Tensor]]:
        """Return the layer and the map of each output of a part that a layer computes."""
        below = [name for name in self.outputs if name.startswith(f'{part}.')]
        found = []
        for level in self.outputs[part]:
            makers = [name for name in below if any(output is level for output in self.outputs[name])]
            if level.ndim > 2 and makers:
                found.append((min(makers, key=lambda name: name.count('.')), level))
        return found


def _common_tap(model: nn.Module, names: Sequence[str]) -> str | None:
    """Return a tap that matches the layers in their order; of those that no tap matches together, the most."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(pattern_of(name), []).append(name)
    for pattern, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        if [name for name, _ in match_modules(model, pattern, 'tap')] == members:
            return pattern
    return names[-1] if names else None


def pattern_of(name: str) -> str:
    """Return the path of a layer with the last number in it replaced by ``*``.

    >>> pattern_of('neck.fpn_convs.0'), pattern_of('backbone.layer4'), pattern_of('neck.conv')
    ('neck.fpn_convs.*', 'backbone.layer*', 'neck.conv')
    """
    return re.sub(r'\d+(?=\D*$)', '*', name)
