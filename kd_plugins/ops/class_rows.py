"""Rows of a head's layers that belong to classes, moved by class name into a head with other classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BOX_LAYERS = ('reg', 'box')
"""Parts of the names of layers that predict boxes; the rows of a class lie together in them."""


def is_class_major(name: str) -> bool:
    """Return whether the rows of a class lie together in a parameter, by the name of its layer.

    >>> is_class_major('roi_head.bbox_head.fc_reg.weight'), is_class_major('roi_head.bbox_head.fc_cls.weight')
    (True, False)
    """
    layer = name.split('.')[-2] if '.' in name else ''
    return any(part in layer for part in BOX_LAYERS)


def rows_by_class(
    saved: Tensor, own: Tensor, earlier: Sequence[str], classes: Sequence[str], class_major: bool = False
) -> Tensor | None:
    """Return the weights of a layer with the saved rows of the classes that both heads know.

    The rows of the other classes stay as they are. Known layouts of the first dimension, with K classes: K rows; A * K
    rows for A anchors, or K * A with ``class_major``, as for boxes of each class; and K + 1 rows, the last one for the
    background, which is copied.

    Args:
        saved: Weight or bias of the earlier head.
        own: Weight or bias of the same layer in the other head; it may differ in the first dimension alone.
        earlier: Names of the classes of the earlier head, in the order of its rows.
        classes: Names of the classes of the other head, likewise.
        class_major: Whether the rows of a class lie together.

    Returns:
        A new tensor of the shape, dtype and device of ``own``; None where no layout fits.

    >>> rows_by_class(torch.tensor([1.0, 2.0]), torch.tensor([7.0, 8.0, 9.0]), ['a', 'b'], ['b', 'c', 'a'])
    tensor([2., 8., 1.])
    """
    if not saved.ndim or saved.ndim != own.ndim or saved.shape[1:] != own.shape[1:]:
        return None
    shared = [name for name in classes if name in earlier]
    source = torch.tensor([list(earlier).index(name) for name in shared], dtype=torch.long)
    target = torch.tensor([list(classes).index(name) for name in shared], dtype=torch.long)
    (count, rest), (own_count, own_rest) = divmod(len(saved), len(earlier)), divmod(len(own), len(classes))
    if rest == own_rest == 0 and count == own_count:
        if not class_major and count > 1:
            blocks = torch.arange(count)[:, None]
            source, target = (blocks * len(earlier) + source).flatten(), (blocks * len(classes) + target).flatten()
        elif count > 1:
            blocks = torch.arange(count)
            source, target = (
                (source[:, None] * count + blocks).flatten(),
                (target[:, None] * count + blocks).flatten(),
            )
    elif len(saved) == len(earlier) + 1 and len(own) == len(classes) + 1:
        source = torch.cat([source, torch.tensor([len(earlier)])])
        target = torch.cat([target, torch.tensor([len(classes)])])
    else:
        return None
    widened = own.detach().clone()
    widened[target] = saved[source].to(widened)
    return widened
