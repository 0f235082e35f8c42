"""ISBI 2012 stack of electron-microscopy slices, divided into folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from ..errors import ConfigError
from ..registry import DATASETS
from ..utils.checks import check_choice

PARTS = ('train', 'val', 'all')


@DATASETS.register_module()
class ISBIMembraneDataset(BaseDataset):
    """Slices and membrane masks of the ISBI 2012 challenge, for MMSegmentation's pipelines.

    Folds are runs of neighbouring slices. Neighbours look alike, so a random split would put near copies of the
    training slices into the validation set.

    Args:
        fold: Index of the fold for validation, from 0.
        folds: Number of folds.
        part: ``'train'`` is all other folds, ``'val'`` is that fold, ``'all'`` is every slice.
        data_root: Folder of the data.
        data_prefix: Folders of images and masks, each with files named by slice number, ``0.png`` and so on. In the
            masks, 0 is membrane (class 1) and 255 is the inside of a cell (class 0).
        **kwargs: Arguments of MMEngine's ``BaseDataset``.

    Raises:
        ConfigError: If the folders do not hold such files, or there is no such fold.
    """

    METAINFO = {'classes': ('cell', 'membrane'), 'palette': [[255, 255, 255], [40, 40, 40]], 'reduce_zero_label': False}

    def __init__(
        self,
        fold: int = 0,
        folds: int = 5,
        part: str = 'train',
        data_root: str = '',
        data_prefix: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        key = 'dataset.fold'
        check_choice('dataset.part', part, PARTS)
        if not isinstance(folds, int) or folds < 2:
            raise ConfigError(f'dataset.folds is {folds!r}; nearest: 2')
        if not isinstance(fold, int) or not 0 <= fold < folds:
            raise ConfigError(f'{key} is {fold!r}; valid: 0 to {folds - 1}')
        self.fold, self.folds, self.part = fold, folds, part
        prefix = data_prefix or {'img_path': 'image', 'seg_map_path': 'label'}
        super().__init__(data_root=data_root, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the slices of the part, in the order of the stack."""
        images, masks = (Path(self.data_prefix[name]) for name in ('img_path', 'seg_map_path'))
        files = list(images.glob('*.png')) if images.is_dir() else []
        misnamed = next((path.name for path in files if not path.stem.isdigit()), None)
        if not files or misnamed is not None:
            content = f"'{misnamed}'" if misnamed else 'no slices'
            raise ConfigError(
                f"dataset.data_prefix.img_path: '{images}' holds {content}; it must hold 0.png, 1.png, ..."
            )
        slices = sorted(files, key=lambda path: int(path.stem))
        without_mask = next((path.name for path in slices if not (masks / path.name).is_file()), None)
        if without_mask is not None:
            raise ConfigError(f"dataset.data_prefix.seg_map_path: '{masks}' has no mask of slice '{without_mask}'")
        if len(slices) < self.folds:
            raise ConfigError(f'dataset.folds is {self.folds} and there are {len(slices)} slices; use fewer folds')
        first, stop = (len(slices) * index // self.folds for index in (self.fold, self.fold + 1))
        chosen = {'train': slices[:first] + slices[stop:], 'val': slices[first:stop], 'all': slices}[self.part]
        return [
            {
                'img_path': str(path),
                'seg_map_path': str(masks / path.name),
                'label_map': {0: 1, 255: 0},
                'reduce_zero_label': False,
                'seg_fields': [],
            }
            for path in chosen
        ]
