"""Entries of a model's config that load pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .loading import class_name, walk


def pretrained_entries(init_cfg: Any) -> list[dict[str, Any]]:
    """Return the entries of an ``init_cfg`` with which MMEngine reads weights from a file.

    Args:
        init_cfg: A dict, a list of dicts, or None.

    >>> pretrained_entries([{'type': 'Constant', 'val': 0}, {'type': 'Pretrained', 'checkpoint': 'a.pth'}])
    [{'type': 'Pretrained', 'checkpoint': 'a.pth'}]
    """
    listed = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return [one for one in listed if isinstance(one, dict) and class_name(one) in ('Pretrained', 'PretrainedInit')]


def strip_pretrained(model: Any, path: str = 'model') -> Iterator[str]:
    """Remove every entry that loads pretrained weights, and yield the config key and file of each.

    They are ``init_cfg`` or an entry of its list, ``pretrained``, and the ``weights`` of a ``TimmBackbone`` or an
    ``HGNetV2``.

    Args:
        model: The ``model`` of a config; changed in place.
        path: Its config key.

    >>> model = {'type': 'ResNet', 'init_cfg': {'type': 'Pretrained', 'checkpoint': 'a.pth'}}
    >>> list(strip_pretrained(model)), model
    (['model.init_cfg (a.pth)'], {'type': 'ResNet', 'init_cfg': None})
    """
    for key, node in list(walk(model, path)):
        init = node.get('init_cfg')
        files = pretrained_entries(init)
        if files:
            others = [] if isinstance(init, dict) else [one for one in init or () if one not in files]
            node['init_cfg'] = others or None
        yield from (f'{key}.init_cfg ({one.get("checkpoint")})' for one in files)
        if isinstance(node.get('pretrained'), str):  # the older form, which configs of MMSegmentation still use
            checkpoint, node['pretrained'] = node['pretrained'], None
            yield f'{key}.pretrained ({checkpoint})'
        if class_name(node) in ('TimmBackbone', 'HGNetV2') and node.get('weights'):
            checkpoint, node['weights'] = node['weights'], None
            yield f'{key}.weights ({checkpoint})'


__all__ = ['pretrained_entries', 'strip_pretrained']
