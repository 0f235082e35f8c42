"""Checks of NIfTI volumes and labels as ``NiftiDataset`` and ``LoadVolume`` read them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.loading import class_name, walk
from ..datasets.nifti import check_grid, label_values, load_header
from ..errors import ConfigError
from .context import Context
from .images import SECONDS, check_exist, within
from .metainfo import shown
from .sources import Source, build_without_pipeline

FIRST = 4
"""Volumes that are read in any case, however slow they are."""
KEEP_SIZES = frozenset(
    {
        'LoadVolume',
        'MonaiTransforms',
        'NormalizeIntensityd',
        'Orientationd',
        'RandFlipd',
        'ScaleIntensityRangePercentilesd',
        'ScaleIntensityRanged',
        'ScaleIntensityd',
        'ThresholdIntensityd',
    }
)
"""Steps that leave the sizes of the axes as they are, but for their order."""
KEEP_CHANNELS = KEEP_SIZES | {
    'BorderPadd',
    'CenterSpatialCropd',
    'CropForegroundd',
    'DivisiblePadd',
    'PackVolume',
    'RandAffined',
    'RandCropByPosNegLabeld',
    'RandGaussianNoised',
    'RandGaussianSmoothd',
    'RandRotate90d',
    'RandRotated',
    'RandScaleIntensityd',
    'RandShiftIntensityd',
    'RandSpatialCropd',
    'RandZoomd',
    'ResizeWithPadOrCropd',
    'Resized',
    'Spacingd',
    'SpatialPadd',
}
"""Steps that leave the number of channels as it is."""
STRICT_CROPS = ('RandCropByPosNegLabeld', 'RandCropByLabelClassesd')
"""Crops that refuse volumes smaller than the patch."""


def volumes(context: Context, source: Source) -> Iterator[str]:
    """Check the volumes of a ``NiftiDataset``; yield remarks."""
    try:
        dataset = build_without_pipeline(source, context.config.get('default_scope') or 'mmengine')
    except TypeError:
        return  # its type takes other arguments
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    classes = tuple(dataset.metainfo['classes'])
    images = [str(entry['img_path']) for entry in entries]
    labels = [str(entry['seg_path']) for entry in entries if entry.get('seg_path')]
    context.images.setdefault(source.loader, set()).update(images)
    _check_classes(context, source, classes)
    check_exist([*images, *labels], source.key)
    if len(labels) < len(images) and (source.trains or _compares(context, source)):
        lacking = next(entry['img_path'] for entry in entries if not entry.get('seg_path'))
        reader = 'training' if source.trains else f'{_evaluator(source)} (VolumetricMetric)'
        raise ConfigError(
            f"{source.key}: '{lacking}' has no labels, and {reader} needs them; set data_prefix.seg, or 'label' in the "
            'json of ann_file'
        )
    if context.is_new((tuple(images), tuple(labels), classes, source.trains)):
        yield from _headers(context, source, entries)
        yield from _voxels(source, entries, classes)


def _evaluator(source: Source) -> str:
    return source.loader.replace('_dataloader', '_evaluator')


def _compares(context: Context, source: Source) -> bool:
    key = _evaluator(source)
    return any(
        class_name(node) == 'VolumetricMetric' and not node.get('format_only')
        for _, node in walk(context.config.get(key), key)
    )


def _network(context: Context) -> dict[str, Any]:
    model = context.config.get('model') or {}
    return dict(model.get('network') or {}) if class_name(model) == 'VolumetricSegmentor' else {}


def _check_classes(context: Context, source: Source, classes: Sequence[str]) -> None:
    channels = _network(context).get('out_channels')
    if channels is not None and channels != len(classes):
        raise ConfigError(
            f'model.network.out_channels is {channels}, but {source.loader}.dataset has {len(classes)} classes '
            f'({shown(classes)}); make both equal'
        )


def _names(source: Source) -> list[str]:
    return [class_name(step) for step in source.steps]


def _headers(context: Context, source: Source, entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Compare grids, channels and sizes, which need the first bytes of each file alone."""
    wanted = _network(context).get('in_channels') if set(_names(source)) <= KEEP_CHANNELS else None
    sizes = {}
    for entry in within(entries, SECONDS, FIRST):
        path = str(entry['img_path'])
        shape = tuple(load_header(path).shape)
        channels = shape[3] if len(shape) == 4 else 1
        if wanted is not None and channels != wanted:
            raise ConfigError(
                f"model.network.in_channels is {wanted}, and '{path}' of shape {shape} has {channels} channels; set "
                f'in_channels={channels}, or select channels in the pipeline'
            )
        if entry.get('seg_path'):
            check_grid(str(entry['seg_path']), path)
        sizes[path] = shape[:3]
    yield from _patch_notes(source, sizes)


def _patch_notes(source: Source, sizes: dict[str, tuple[int, ...]]) -> Iterator[str]:
    """Refuse or remark volumes that are smaller than the patch that the first crop takes from them."""
    names = _names(source)
    at = next((index for index, name in enumerate(names) if name not in KEEP_SIZES), None)
    crop = source.steps[at] if at is not None else {}
    if at is None or names[at] not in (*STRICT_CROPS, 'RandSpatialCropd') or crop.get('allow_smaller'):
        return
    given = crop.get('spatial_size', crop.get('roi_size')) or 0
    patch = [int(side) for side in ([given] * 3 if isinstance(given, int) else given)]
    turned = 'Orientationd' in names[:at]
    small = [path for path, size in sizes.items() if len(patch) == 3 and not _fits(patch, size, turned)]
    if not small:
        return
    sentence = (
        f"'{small[0]}' has {'x'.join(map(str, sizes[small[0]]))} voxels ({len(small)} of {len(sizes)} volumes are "
        f'smaller than the patch), and {source.key}: {names[at]} takes {"x".join(map(str, patch))}; add '
        f'SpatialPadd with spatial_size={tuple(patch)} before it'
    )
    if names[at] in STRICT_CROPS:
        raise ConfigError(sentence)
    yield sentence


def _fits(patch: Sequence[int], size: Sequence[int], turned: bool) -> bool:
    """Return whether a patch fits into a volume, in any order of axes where the volume may be turned.

    >>> _fits([32, 32, 8], [8, 40, 40], turned=True), _fits([32, 32, 8], [8, 40, 40], turned=False)
    (True, False)
    """
    pairs = zip(sorted(patch), sorted(size)) if turned else zip(patch, size)
    return all(side <= axis for side, axis in pairs)


def _read(path: str) -> NDArray[Any]:
    try:
        return np.asanyarray(load_header(path).dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ConfigError(f"'{path}' is truncated or damaged; copy or download it again") from error


def _voxels(source: Source, entries: Sequence[dict[str, Any]], classes: Sequence[str]) -> Iterator[str]:
    """Read voxels within the time."""
    counted: set[int] = set()
    number = 0
    for entry in within(entries, SECONDS, FIRST):
        image = _read(str(entry['img_path']))
        if image.dtype.kind == 'f' and not np.isfinite(image).all():
            raise ConfigError(f"'{entry['img_path']}' holds NaN or infinite voxels; replace them before training")
        if entry.get('seg_path'):
            path = str(entry['seg_path'])
            counted.update(label_values(path, _read(path), classes).tolist())
        number += 1
    if counted and counted != set(range(len(classes))):
        yield from _class_notes(source, entries, classes, counted, number)
    if number < len(entries):
        yield f'{source.key}: {number} of {len(entries)} volumes were read, evenly over the data set'


def _class_notes(
    source: Source, entries: Sequence[dict[str, Any]], classes: Sequence[str], counted: set[int], number: int
) -> Iterator[str]:
    alone = number == len(entries) and '.datasets.' not in source.key
    if len(counted) == 1 and len(classes) > 1 and source.trains and alone:
        raise ConfigError(
            f"'{entries[0]['seg_path']}' and all {number} label files hold {min(counted)} alone, and "
            f'{source.key}.metainfo.classes has {len(classes)} classes ({shown(classes)}); write the index of the '
            'class of each voxel'
        )
    unused = [name for at, name in enumerate(classes) if at not in counted]
    where = 'training' if source.trains else source.loader.removesuffix('_dataloader')
    yield f'{number} label files of {where} have no voxel of {shown(unused)}'


__all__ = ['volumes']
