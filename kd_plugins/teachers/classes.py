"""Compare the classes of a trained teacher with those of the training data."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from .base import BaseTeacher


def class_names(metainfo: Any) -> tuple[str, ...] | None:
    """Return the class names of a data set's ``metainfo``, ``None`` where it has none.

    A concatenation of data sets with different ``metainfo`` has a list of them; the names of its first member count,
    since all members label with the same indices.

    >>> class_names({'classes': 'person'}), class_names([{'classes': ['a', 'b']}, {}]), class_names(None)
    (('person',), ('a', 'b'), None)
    """
    if isinstance(metainfo, (list, tuple)):
        return next((names for names in map(class_names, metainfo) if names), None)
    classes = metainfo.get('classes') if hasattr(metainfo, 'get') else None
    if not classes:
        return None
    return (classes,) if isinstance(classes, str) else tuple(str(name) for name in classes)


def check_classes(teacher: BaseTeacher, distiller: str, metainfo: Any) -> None:
    """Refuse a teacher whose class scores belong to other classes than those of the training data.

    Args:
        teacher: The teacher; without names of classes it is accepted.
        distiller: Config key of a distiller that compares class scores, for the error sentence.
        metainfo: ``metainfo`` of the training data set.

    Raises:
        ConfigError: If names or order differ.
    """
    trained, classes = class_names({'classes': getattr(teacher, 'classes', None)}), class_names(metainfo)
    if not trained or not classes or trained == classes:
        return
    index = next((i for i, pair in enumerate(zip(trained, classes)) if pair[0] != pair[1]), None)
    if index is None:
        difference = ''
    else:
        difference = f", and class {index} is '{trained[index]}' there and '{classes[index]}' here"
    raise ConfigError(
        f'{teacher.key}.checkpoint: trained on {len(trained)} classes {trained[:5]} where train_dataloader.dataset has '
        f'{len(classes)} classes {classes[:5]}{difference}; {distiller} compares class scores, so both must be the '
        'same, in the same order; nearest: a distiller of features'
    )
