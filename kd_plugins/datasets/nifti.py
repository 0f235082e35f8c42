"""NIfTI volumes: data set of images and labels from a folder or a json file, and the reading of volumes."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray

from ..errors import ConfigError, MissingDependencyError, import_fault, nearest
from ..registry import DATASETS
from ..utils.checks import check_choice

SUFFIXES = ('.nii.gz', '.nii')
AFFINE_TOLERANCE = 1e-3
"""Largest difference, in millimetres, between the affines of an image and its label."""
ROUNDING = (0.01, 0.25)
"""Distance from a whole number at which a label is rounded: at least, and at most where the file is scaled."""


def load_header(path: str) -> Any:
    """Return nibabel's image object of a NIfTI file without reading its voxels.

    Raises:
        ConfigError: If the file does not exist or is not NIfTI, or does not hold numbers on three axes, with or without
            channels as a fourth.
        MissingDependencyError: If nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        fault = import_fault(error, 'nibabel')
        raise MissingDependencyError(
            f"NiftiDataset: {fault} (extra 'volume'); kd_plugins doctor prints the command"
        ) from error
    if not Path(path).is_file():
        folder = Path(path).parent
        siblings = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
        raise ConfigError(f"'{path}' does not exist; {nearest(Path(path).name, siblings)}")
    try:
        image: Any = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, OSError, EOFError) as error:
        raise ConfigError(f"'{path}' is truncated or not a NIfTI file; copy or download it again") from error
    if image.get_data_dtype().kind not in 'uif':
        raise ConfigError(f"'{path}' holds voxels of type {image.get_data_dtype()}; convert them to integers or floats")
    if len(image.shape) not in (3, 4) or 0 in image.shape:
        raise ConfigError(f"'{path}' has shape {tuple(image.shape)}; expected 3 axes, or 4 with the channels last")
    if abs(float(np.linalg.det(image.affine[:3, :3]))) < 1e-12:
        raise ConfigError(f"'{path}' has an affine that maps all voxels to one plane; repair its header (sform, qform)")
    return image


def read_volume(path: str) -> Any:
    """Read a NIfTI file with MONAI's reader.

    Returns:
        A float32 ``MetaTensor`` of shape (C, X, Y, Z), axes and affine as on disk.

    Raises:
        ConfigError: If it cannot be read, or holds NaN or infinity.
    """
    from monai.transforms import LoadImage

    load_header(path)
    try:
        volume = LoadImage(reader='NibabelReader', ensure_channel_first=True)(path)
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        raise ConfigError(f"'{path}' is truncated or damaged; copy or download it again") from error
    if not volume.isfinite().all():
        raise ConfigError(f"'{path}' holds NaN or infinite voxels; replace them before training")
    return volume


def check_grid(path: str, image_path: str) -> None:
    """Refuse labels on another grid than that of their image.

    Args:
        path: NIfTI file of the labels.
        image_path: NIfTI file of the image.

    Raises:
        ConfigError: If shape or affine differ.
    """
    image, header = load_header(image_path), load_header(path)
    if header.shape[:3] != image.shape[:3] or header.shape[3:] not in ((), (1,)):
        raise ConfigError(
            f"'{path}' has shape {tuple(header.shape)} where its image '{image_path}' has {tuple(image.shape)}"
        )
    if not np.allclose(header.affine, image.affine, atol=AFFINE_TOLERANCE):
        axis = int(np.abs(header.affine - image.affine).max(1).argmax())
        raise ConfigError(
            f"'{path}' and its image '{image_path}' have different affines (row {axis}: "
            f'{np.round(header.affine[axis], 4).tolist()} and {np.round(image.affine[axis], 4).tolist()}); '
            "save the labels with the image's affine"
        )


def label_values(path: str, voxels: NDArray[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the labels that occur in a volume, ascending.

    A file that stores floats as scaled integers gives 1.00002 for 1. Labels are therefore rounded, if they are nearer
    to a whole number than half a step of the stored integers, or than 0.01 (:data:`ROUNDING`).

    Args:
        path: NIfTI file of the labels.
        voxels: Its voxels.
        classes: Class names, the background first.

    Raises:
        ConfigError: If a value is not the index of a class.
    """
    values = np.unique(voxels)
    if not np.isfinite(values).all():
        raise ConfigError(f"'{path}' holds NaN or infinite voxels; write class indices")
    slope = abs(float(getattr(load_header(path).dataobj, 'slope', 1.0)))
    scaled = slope not in (0.0, 1.0)
    tolerance = min(max(ROUNDING[0], slope / 2), ROUNDING[1]) if scaled else ROUNDING[0]
    fractional = values[np.abs(values - np.round(values)) > tolerance]
    if len(fractional):
        reason = f'is scaled (scl_slope {slope:g}) and ' if scaled else ''
        raise ConfigError(
            f"'{path}' {reason}holds the label {fractional[0]:g}; labels are whole numbers, the indices of the "
            'classes; save np.round(labels).astype(np.uint8), and resample labels with nearest neighbours'
        )
    whole: NDArray[np.int64] = np.unique(np.round(values).astype(np.int64))
    outside = whole[(whole < 0) | (whole >= len(classes))]
    if len(outside):
        raise ConfigError(
            f"'{path}' holds the label {outside[0]}, but dataset.metainfo.classes has {len(classes)} entries, "
            f'{tuple(classes)}: 0 to {len(classes) - 1}'
        )
    return whole


def read_labels(path: str, image_path: str, classes: Sequence[str]) -> Any:
    """Read the labels of an image.

    Args:
        path: NIfTI file with class indices, of any number type, also of floats stored as scaled integers.
        image_path: NIfTI file of the image.
        classes: Class names, the background first.

    Returns:
        A float32 ``MetaTensor`` of whole numbers, of shape (1, X, Y, Z).

    Raises:
        ConfigError: If shape or affine differ from those of the image, or a value is not the index of a class.
    """
    check_grid(path, image_path)
    labels = read_volume(path)
    label_values(path, labels.numpy(), classes)
    return labels.round()


def split_names(names: Sequence[str], sizes: Mapping[str, int], seed: int = 0) -> dict[str, list[str]]:
    """Return a random split of names that is the same on every machine.

    The names are sorted, permuted by ``numpy.random.RandomState(seed).permutation``, whose stream is the same in all
    versions of NumPy, and assigned to the parts in the order of ``sizes``.

    Args:
        names: The names.
        sizes: Name of each part to its size, together at most ``len(names)``.
        seed: Seed of the permutation.

    Raises:
        ConfigError: If the sizes add up to more than the number of names.

    >>> split_names(['e', 'd', 'c', 'b', 'a'], {'train': 3, 'test': 2})
    {'train': ['c', 'a', 'b'], 'test': ['d', 'e']}
    """
    if sum(sizes.values()) > len(names):
        raise ConfigError(
            f'dataset.split: {dict(sizes)} needs {sum(sizes.values())} volumes, and there are {len(names)}'
        )
    order = sorted(names)
    shuffled = [order[index] for index in np.random.RandomState(seed).permutation(len(order))]
    parts: dict[str, list[str]] = {}
    for part, size in sizes.items():
        parts[part], shuffled = shuffled[:size], shuffled[size:]
    return parts


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the voxel size along each axis of a grid, in millimetres.

    >>> spacing_of(np.diag([-1.0, 0.5, 2.0, 1.0]))
    (1.0, 0.5, 2.0)
    """
    return tuple(float(value) for value in np.linalg.norm(np.asarray(affine)[:3, :3], axis=0))


@DATASETS.register_module()
class NiftiDataset(BaseDataset):
    """Data set of NIfTI files for :class:`~kd_plugins.models.volumetric.VolumetricSegmentor`.

    Without ``ann_file``, every ``*.nii.gz`` and ``*.nii`` file in ``data_prefix.img`` is an image, and the file of the
    same name in ``data_prefix.seg`` is its label. With ``ann_file``, a json file lists both in the format of the
    Medical Segmentation Decathlon: ``{"training": [{"image": PATH, "label": PATH}, ...], ...}``, with paths relative to
    ``data_root``.

    The pipeline starts with ``kd_plugins.LoadVolume`` and ends with ``kd_plugins.PackVolume``.

    Args:
        part: Name of a part of the split, or of a list in the json file, there by default ``'training'``.
        split: Sizes of the parts and a seed, as in ``dict(train=140, val=20, test=40, seed=0)``
            (:func:`split_names`); None takes all volumes.
        cache: Whether to keep every volume in memory as it is after the first steps of the pipeline that are not
            random. Each worker has its own cache and loses it with ``persistent_workers=False``, so that
            ``num_workers=0`` is best.
        data_prefix: Folders ``img`` and, unless the volumes have no labels, ``seg``; as in MMEngine.
        kwargs: Other arguments of MMEngine's ``BaseDataset``: ``data_root``, ``ann_file``, ``metainfo``, ``pipeline``,
            ``indices``, ``test_mode``. ``metainfo.classes`` names every class, the background first.

    Raises:
        ConfigError: If there is no volume, a label is missing, or the split does not fit.
    """

    def __init__(
        self,
        *args: Any,
        part: str | None = None,
        split: dict[str, int] | None = None,
        cache: bool = False,
        data_prefix: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.part = part
        self.split = dict(split) if split else None
        self.cache = cache
        self._cached: dict[tuple[str, str | None], Any] = {}
        super().__init__(*args, data_prefix={'img': ''} if data_prefix is None else dict(data_prefix), **kwargs)
        classes = self.metainfo.get('classes')
        if not classes:
            raise ConfigError("dataset.metainfo has no 'classes'; name every class, the background first")
        steps = self.pipeline.transforms
        random = [index for index, step in enumerate(steps) if not getattr(step, 'deterministic', False)]
        self._fixed = random[0] if random else len(steps)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return ``img_path``, ``seg_path`` (None without labels), ``classes`` and ``part`` of each volume."""
        pairs = self._from_json() if self.ann_file else self._from_folder()
        if not pairs:
            raise ConfigError(f"dataset: no volume in '{self.ann_file or self.data_prefix['img']}'")
        classes = tuple(self.metainfo.get('classes') or ())
        return [{'img_path': image, 'seg_path': label, 'classes': classes, 'part': self.part} for image, label in pairs]

    def prepare_data(self, idx: int) -> Any:
        """Return one item of the pipeline; with ``cache``, the result of its first steps comes from memory."""
        if not self.cache:
            return super().prepare_data(idx)
        info = self.get_data_info(idx)
        steps, key = self.pipeline.transforms, (info['img_path'], info['seg_path'])
        if key not in self._cached:
            for step in steps[: self._fixed]:
                info = step(info)
            self._cached[key] = info
        result = copy.deepcopy(self._cached[key])
        for step in steps[self._fixed :]:
            result = step(result)
        return result

    def _from_folder(self) -> list[tuple[str, str | None]]:
        folder = Path(self.data_prefix['img'])
        if not folder.is_dir():
            raise ConfigError(f"dataset.data_prefix.img: '{folder}' does not exist")
        names = sorted(file.name for file in folder.iterdir() if file.name.endswith(SUFFIXES) and file.is_file())
        if self.split is not None:
            sizes = {name: size for name, size in self.split.items() if name != 'seed'}
            check_choice('dataset.part', str(self.part), list(sizes))
            names = split_names(names, sizes, self.split.get('seed', 0))[str(self.part)]
        labels = self.data_prefix.get('seg')
        if labels is None:
            return [(str(folder / name), None) for name in names]
        label_names = {file.name for file in Path(labels).iterdir()} if Path(labels).is_dir() else set()
        missing = next((name for name in names if name not in label_names), None)
        if missing is not None:
            raise ConfigError(
                f"dataset.data_prefix.seg: '{folder / missing}' has no label in '{labels}'; "
                f'{nearest(missing, sorted(label_names))}'
            )
        return [(str(folder / name), str(Path(labels) / name)) for name in names]

    def _from_json(self) -> list[tuple[str, str | None]]:
        try:
            content = json.loads(Path(self.ann_file).read_text(encoding='utf-8'))
        except (OSError, ValueError) as error:
            raise ConfigError(f"dataset.ann_file: '{self.ann_file}' is not a readable json file: {error}") from error
        if not isinstance(content, dict):
            raise ConfigError(
                f"dataset.ann_file: '{self.ann_file}' holds a {type(content).__name__}; expected lists of volumes by "
                "name, as in {'training': [{'image': ..., 'label': ...}]}"
            )
        lists = {name: value for name, value in content.items() if isinstance(value, list)}
        part = self.part or 'training'
        check_choice(f"dataset.part of '{self.ann_file}'", part, list(lists))
        pairs = []
        for entry in lists[part]:
            listed = {'image': entry} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}
            image, label = listed.get('image'), listed.get('label')
            if not isinstance(image, str) or not isinstance(label, (str, type(None))):
                raise ConfigError(f"dataset.ann_file: '{self.ann_file}' holds {entry!r}; expected 'image' and 'label'")
            root = Path(self.data_root or '')
            pairs.append((str(root / image), None if label is None else str(root / label)))
        return pairs


__all__ = ['NiftiDataset', 'check_grid', 'label_values', 'load_header', 'read_labels', 'read_volume', 'split_names']
