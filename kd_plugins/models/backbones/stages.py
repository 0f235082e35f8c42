"""Stem and stages of a network of timm, for freezing the first of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

CONTAINERS = ('blocks', 'layers', 'stages')
"""Names of timm's lists of stages or, in transformers of one resolution, of blocks."""
NUMBERED = re.compile(r'(?:blocks|layers|stages|layer|stage|s)_?\d+')
"""Names of stages that are members of the network itself, as ``layer1`` in ResNet and ``s1`` in RegNet."""


@dataclass
class Stages:
    """Parts of a network in the order of their registration, which is that of their computation in timm.

    Attributes:
        stem: Modules before the first stage.
        tokens: Parameters of the network itself, such as the position embedding; they belong to the stem.
        stages: Modules of each stage, with what follows it before the next one.
    """

    stem: list[nn.Module] = field(default_factory=list)
    tokens: list[nn.Parameter] = field(default_factory=list)
    stages: list[list[nn.Module]] = field(default_factory=list)

    def first(self, count: int) -> Iterator[nn.Module]:
        """Yield the modules of the stem and of the first ``count`` stages."""
        yield from self.stem
        for stage in self.stages[:count]:
            yield from stage


def whole_network(network: nn.Module) -> nn.Module:
    """Return the network inside timm's feature extractor, the extractor itself where it holds the layers."""
    children = dict(network.named_children())
    return next(iter(children.values())) if set(children) in ({'model'}, {'body'}) else network


def find_stages(network: nn.Module) -> Stages:
    """Return the stem and the stages of a network that timm made with ``features_only=True``.

    Args:
        network: The network; its modules are not changed.

    >>> net = nn.ModuleDict({'conv1': nn.Conv2d(3, 4, 1), 'layer1': nn.Identity(), 'layer2': nn.Identity()})
    >>> len(find_stages(net).stem), len(find_stages(net).stages)
    (1, 2)
    """
    root = whole_network(network)
    found = Stages(tokens=list(root.parameters(recurse=False)))
    for name, module in root.named_children():
        if name in CONTAINERS and isinstance(module, (nn.Sequential, nn.ModuleList)):
            found.stages += [[stage] for stage in module.children()]
        elif NUMBERED.fullmatch(name):
            found.stages.append([module])
        else:
            (found.stages[-1] if found.stages else found.stem).append(module)
    return found


__all__ = ['Stages', 'find_stages', 'whole_network']
