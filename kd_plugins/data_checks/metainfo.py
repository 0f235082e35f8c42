"""Class names of a data set's metainfo, and their comparison with the categories of an annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..config.data_checks import read_class_names
from ..errors import ConfigError, nearest
from .sources import Source


def class_names(source: Source) -> tuple[str, ...] | None:
    """Return the class names of a data set: from ``metainfo.classes``, a list or a file, or from its type.

    Raises:
        ConfigError: If ``metainfo.classes`` is a text that names no file, or holds a name twice.
    """
    metainfo = source.node.get('metainfo')
    classes = metainfo.get('classes') if isinstance(metainfo, dict) else None
    key = f'{source.key}.metainfo.classes'
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise ConfigError(
                f'{key} is {classes!r}, which MMEngine reads as the name of a file that does not exist; for one class '
                f'write ({classes!r},)'
            )
        classes = read_class_names(classes)
    if classes is None:
        defaults = getattr(source.dataset_type, 'METAINFO', None) or {}
        classes = defaults.get('classes')
    if not classes:
        return None
    twice = next((name for index, name in enumerate(classes) if name in classes[:index]), None)
    if twice is not None:
        raise ConfigError(f'{key} holds {twice!r} twice; name each class once')
    return tuple(classes)


def shown(names: Sequence[str], limit: int = 6) -> str:
    """Return names in one line, the last ones left out where they are many.

    >>> shown(['cat', 'dog'])
    "'cat', 'dog'"
    """
    return ', '.join(repr(name) for name in names[:limit]) + (', ...' if len(names) > limit else '')


def check_names(source: Source, classes: Sequence[str], names: Sequence[str], file: str) -> None:
    """Refuse class names that an annotation file does not have, and another order of the same names.

    MMDetection numbers the classes by the order of ``categories`` in the file, whatever the order of the class names.

    Args:
        source: The data set.
        classes: Its class names.
        names: Names in ``categories`` of the file, in that order.
        file: The annotation file.

    Raises:
        ConfigError: Naming the first class that is missing, or both orders.
    """
    declared = isinstance(source.node.get('metainfo'), dict) and source.node['metainfo'].get('classes')
    key = f'{source.key}.metainfo.classes'
    missing = [name for name in classes if name not in names]
    if missing and not declared:
        raise ConfigError(
            f'{key} is not set, so that the {len(classes)} classes of its type count ({shown(classes, 3)}), and '
            f"'{file}' lacks {missing[0]!r}; write the names of the file, classes=({shown(names)},)"
        )
    if missing:
        raise ConfigError(
            f"{key} holds {shown(missing)}, which '{file}' does not have in categories; {nearest(missing[0], names, 6)}"
        )
    in_file = [name for name in names if name in classes]
    twice = next((name for at, name in enumerate(in_file) if name in in_file[:at]), None)
    if twice is not None:
        raise ConfigError(
            f"'{file}' has {in_file.count(twice)} categories with the name {twice!r}, so that labels exceed the number "
            'of classes; give each category a name of its own'
        )
    if in_file != list(classes):
        raise ConfigError(
            f"{key} is ({shown(classes)}), and '{file}' lists categories in the order ({shown(in_file)}), from which "
            'MMDetection takes the labels; give all files and metainfo.classes the same order'
        )
