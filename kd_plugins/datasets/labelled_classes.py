"""COCO data set in which only some of the classes are labelled, as in a later task of class-incremental learning."""

from __future__ import annotations

from typing import Any

from ..registry import DATASETS


@DATASETS.register_module(name='LabelledClassesCoco')
def labelled_classes_coco(**arguments: Any) -> Any:
    """Build a ``CocoDataset`` in which only some classes are labelled (``type='kd_plugins.LabelledClassesCoco'``).

    ``metainfo.classes`` has the classes of the head, old and new ones, in the order of the file. Annotations of
    classes that ``labelled`` does not name are left out, as if nobody had labelled them, and the labels of the others
    are their places in ``metainfo.classes``. With ``filter_cfg=dict(filter_empty_gt=True)`` images without a labelled
    object are left out as well.

    Args:
        arguments: ``labelled``, a list of class names, and the arguments of MMDetection's ``CocoDataset``.

    Raises:
        ConfigError: If ``labelled`` names a class that is not there, or the classes have another order than in the
            file.
    """
    from .labelled_classes_dataset import LabelledClassesDataset

    return LabelledClassesDataset(**arguments)
