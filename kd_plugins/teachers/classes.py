"""Compare the classes of a trained teacher with those of the training data."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from .base import BaseTeacher


def class_names(metainfo: Any) -> list[tuple[str, ...]]:
    """Return the different lists of class names in the ``metainfo`` of a data set.

    A concatenation of data sets with different ``metainfo`` has a list of them, one for each member.

    >>> class_names({'classes': 'person'}), class_names([{'classes': ['a', 'b']}, {}]), class_names(None)
    ([('person',)], [('a', 'b')], [])
    """
    if isinstance(metainfo, (list, tuple)):
        return list(dict.fromkeys(names for member in metainfo for names in class_names(member)))
    classes = metainfo.get('classes') if hasattr(metainfo, 'get') else None
    if not classes:
        return []
    return [(classes,) if isinstance(classes, str) else tuple(str(name) for name in classes)]


def check_classes(teacher: BaseTeacher, distiller: str, metainfo: Any) -> None:
    """Refuse a teacher whose class scores belong to other classes than those of the training data.

    Args:
        teacher: The teacher; without names of classes it is accepted.
        distiller: Config key of a distiller that compares class scores, for the error sentence.
        metainfo: ``metainfo`` of the training data set.

    Raises:
        ConfigError: If names or order differ.
    """
    trained = next(iter(class_names({'classes': getattr(teacher, 'classes', None)})), None)
    classes = next((names for names in class_names(metainfo) if names != trained), None)
    if not trained or not classes:
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
