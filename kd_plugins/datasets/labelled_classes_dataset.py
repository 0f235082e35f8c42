"""Subclass of MMDetection's ``CocoDataset`` that :func:`kd_plugins.datasets.labelled_classes_coco` builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.datasets import CocoDataset

from ..errors import ConfigError, nearest
from ..utils.argument_types import shown

KEY = 'LabelledClassesCoco.labelled'


class LabelledClassesDataset(CocoDataset):
    """MMDetection's ``CocoDataset`` with the annotations of some classes.

    Args:
        labelled: Names of the classes whose annotations are kept.
        arguments: Arguments of ``CocoDataset``; ``metainfo.classes`` has the classes of the head.

    Raises:
        ConfigError: If the names do not fit.
    """

    def __init__(self, labelled: Sequence[str], **arguments: Any) -> None:
        names = [labelled] if isinstance(labelled, str) else list(labelled)
        classes = (arguments.get('metainfo') or {}).get('classes')
        if not classes or not names:
            raise ConfigError(
                f'{KEY} is {shown(labelled)} with metainfo.classes {shown(classes)}; give the classes of the head '
                'there and those with labels here'
            )
        wrong = next((name for name in names if name not in classes), None)
        if wrong is not None:
            raise ConfigError(
                f'{KEY} holds {wrong!r}, which metainfo.classes does not; {nearest(wrong, list(classes))}'
            )
        self.labelled = tuple(names)
        self._kept: set[int] | None = None
        super().__init__(**arguments)

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> Any:
        """Return the entry of an image without the annotations of other classes."""
        if self._kept is None:
            self._kept = self._labels()
        entry = super().parse_data_info(raw_data_info)
        entry['instances'] = [one for one in entry['instances'] if one['bbox_label'] in self._kept]
        return entry

    def _labels(self) -> set[int]:
        """Return the labels of the classes that are kept."""
        classes = list(self.metainfo['classes'])
        in_file = [category['name'] for category in self.coco.load_cats(self.cat_ids)]
        # CocoDataset numbers the classes in the order of the file.
        if in_file != classes:
            raise ConfigError(
                f"train_dataloader.dataset.metainfo.classes is {shown(classes)}, and '{self.ann_file}' has "
                f'{shown(in_file)} in its order, by which labels are numbered; write them in that order'
            )
        return {classes.index(name) for name in self.labelled}

    def filter_data(self) -> list[dict[str, Any]]:
        """Return the entries that ``filter_cfg`` keeps."""
        entries: list[dict[str, Any]] = super().filter_data()
        if self.test_mode or not (self.filter_cfg or {}).get('filter_empty_gt'):
            return entries
        return [entry for entry in entries if entry['instances']]
