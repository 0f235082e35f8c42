"""Checks of a table of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kd_plugins.conversion.names import family_of, number_of_layers, translate


def fields_of(rule: Sequence[str]) -> list[set[str]]:
    """Return the fields of each template; ``once`` and ``twice`` are one number in two layouts."""
    fields = [set(re.findall(r'\{(\w+)\}', template)) for template in rule]
    return [{'once' if field == 'twice' else field for field in names} for names in fields]


def assert_counterparts(model: Any, family: str) -> None:
    """Check that each name of a detector has one counterpart in each layout, which leads back.

    Args:
        model: The detector.
        family: ``'dfine'`` or ``'rtdetr'``.
    """
    names, layers = list(model.state_dict()), model.decoder.num_layers
    for layout in ('release', 'transformers'):
        there = [translate(name, layers, 'own', layout, family) for name in names]
        assert None not in there and len(set(there)) == len(names)
        assert [translate(str(name), layers, layout, 'own', family) for name in there] == names
        assert (family_of(map(str, there)), number_of_layers(map(str, there))) == (family, layers)
