"""Fields of data samples, put back after a call that replaces them.

Some losses of MMDetection write into their data samples: RTMDet-Ins and SOLO replace the masks of ``gt_instances`` by
tensors, which a second call of the same loss cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.structures import BaseDataElement

Fields = list[tuple[BaseDataElement, dict[str, Any]]]
"""Samples and the elements inside them, each with its values by name."""


def fields_of(samples: Any) -> Fields:
    """Return the fields of data samples, and of the instances and maps in them.

    Args:
        samples: Data samples of a batch; other objects than a sequence of :class:`BaseDataElement` have no fields.
    """
    found = [one for one in samples if isinstance(one, BaseDataElement)] if isinstance(samples, (list, tuple)) else []
    inner = [value for one in found for value in one.values() if isinstance(value, BaseDataElement)]
    return [(one, dict(one.items())) for one in (*found, *inner)]


def restore_fields(fields: Fields) -> None:
    """Put values back that were replaced since :func:`fields_of`. Values that were added stay.

    Args:
        fields: The result of :func:`fields_of`.

    >>> from mmengine.structures import InstanceData
    >>> instances = InstanceData(masks=[1, 2])
    >>> before = fields_of([instances])
    >>> instances.masks = [3, 4]
    >>> restore_fields(before)
    >>> instances.masks
    [1, 2]
    """
    for element, values in fields:
        for name, value in values.items():
            if element.get(name) is not value:
                setattr(element, name, value)


@contextmanager
def kept_fields(samples: Any) -> Iterator[None]:
    """Put values back that are replaced inside the context.

    Args:
        samples: See :func:`fields_of`.
    """
    fields = fields_of(samples)
    try:
        yield
    finally:
        restore_fields(fields)


__all__ = ['Fields', 'fields_of', 'kept_fields', 'restore_fields']
