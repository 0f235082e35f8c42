"""Checks of images and masks as MMSegmentation's data sets read them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import TRANSFORMS

from ..config.loading import class_name, walk
from ..errors import ConfigError, nearest
from ..utils.build import first_line
from ..utils.files import missing_files, names_in
from .context import Context
from .image_header import read_header
from .images import SECONDS, check_exist, check_images, reads_with_opencv, within
from .mask_labels import Labels, check_labels, heads_of, label_notes, labels_of, one_class
from .mask_values import Mask, loaded_values, read_mask
from .metainfo import class_names
from .sources import Source, build_without_pipeline

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff')
FIRST = 16
"""Masks that are read in any case, however slow they are."""


def segmentation(context: Context, source: Source) -> Iterator[str]:
    """Check a data set that MMSegmentation's pipelines read, and its ``IoUMetric``; yield remarks."""
    scope = context.config.get('default_scope') or 'mmengine'
    classes = class_names(source)
    _check_metainfo(source, classes)
    entries = _entries(source, scope)
    if entries is None:
        return
    images = [str(entry['img_path']) for entry in entries]
    context.images.setdefault(source.loader, set()).update(images)
    _check_images_exist(source, images)
    where = source.ann_file or source.folder('img_path')
    if context.is_new(tuple(images)):
        yield from _unread_note(source, images)
        loader = source.step('LoadImageFromFile')
        if loader and reads_with_opencv(source):
            color_type = str(loader.get('color_type', 'color'))
            yield from check_images(images, [None] * len(images), source.key, where, color_type)
        else:
            check_exist(images, source.key)
    needed = source.trains or bool(_metrics(context, source))
    loader = _mask_loader(source, scope)
    if loader is None or 'seg_map_path' not in entries[0]:
        if needed:
            _refuse_no_masks(source, scope, loader, entries[0])
        return
    _check_masks_exist(source, entries)
    labels = labels_of(context.config, source, classes, _metrics(context, source))
    paths = tuple(str(entry['seg_map_path']) for entry in entries)
    if labels and context.is_new((paths, source.trains, labels.count, labels.ignored)):
        yield from _masks(source, entries, loader, labels)
    if source.trains:
        yield from _padding_notes(context)


def _metrics(context: Context, source: Source) -> list[dict[str, Any]]:
    key = source.loader.replace('_dataloader', '_evaluator')
    nodes = (node for _, node in walk(context.config.get(key), key) if not source.trains)
    return [node for node in nodes if class_name(node) == 'IoUMetric' and not node.get('format_only')]


def _check_metainfo(source: Source, classes: Sequence[str] | None) -> None:
    """Refuse class names and palettes over which ``BaseSegDataset`` would stop."""
    if not source.inherits('mmseg.', 'BaseSegDataset', '_update_palette'):
        return
    metainfo = source.node.get('metainfo') or {}
    of_type = getattr(source.dataset_type, 'METAINFO', {})
    known, key = list(of_type.get('classes') or ()), f'{source.key}.metainfo'
    if not classes:
        if source.node.get('test_mode'):
            raise ConfigError(f"{key} has no 'classes', and test_mode needs them; name every class")
        return
    foreign = next((name for name in classes if known and name not in known), None)
    if foreign is not None:
        raise ConfigError(
            f"{key}.classes holds '{foreign}', and {source.dataset_type.__name__} has {len(known)} classes; "
            f"{nearest(foreign, known)}, or type='BaseSegDataset' for classes of your own"
        )
    palette = metainfo.get('palette', of_type.get('palette')) or ()
    subset = bool(known) and list(classes) != known and len(palette) >= len(classes)
    if not isinstance(palette, str) and len(palette) not in (0, len(classes)) and not subset:
        raise ConfigError(
            f'{key}.palette has {len(palette)} colours and {key}.classes {len(classes)} names; give one colour for '
            'each class, or leave the palette out'
        )


def _entries(source: Source, scope: str) -> list[dict[str, Any]] | None:
    """Return the entries of the data set, None where its type is not built from these arguments."""
    if source.node.get('ann_file') and not os.path.exists(source.ann_file):
        raise ConfigError(f"{source.key}.ann_file: '{source.ann_file}' does not exist")
    if source.inherits('mmseg.', 'BaseSegDataset', 'load_data_list') and not os.path.isfile(source.ann_file):
        folder = source.folder('img_path')
        if not Path(folder).is_dir():
            raise ConfigError(f"{source.key}.data_prefix.img_path: '{folder}' does not exist; check data_root")
    try:
        dataset = build_without_pipeline(source, scope)
        dataset.full_init()
    except ConfigError:
        raise
    except TypeError:
        return None
    except (ValueError, KeyError, AssertionError, OSError, RuntimeError) as error:
        raise ConfigError(f'{source.key}: {first_line(error)}') from error
    entries = [dataset.get_data_info(index) for index in range(len(dataset))]
    if not entries:
        _refuse_empty(source)
    return entries if all('img_path' in entry for entry in entries) else None


def _suffix(source: Source, name: str, default: str) -> str:
    import inspect

    given = source.node.get(name)
    if given is None:
        parameter = inspect.signature(source.dataset_type.__init__).parameters.get(name)
        given = parameter.default if parameter is not None else default
    return str(given)


def _files_below(folder: str) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names]


def _refuse_empty(source: Source) -> None:
    if source.node.get('ann_file') and os.path.isfile(source.ann_file):
        raise ConfigError(f"{source.key}.ann_file: '{source.ann_file}' lists no image; write one name a line")
    folder, suffix = source.folder('img_path'), _suffix(source, 'img_suffix', '.jpg')
    endings = Counter(Path(name).suffix for name in _files_below(folder) if Path(name).suffix.lower() in IMAGES)
    if not endings:
        raise ConfigError(f"{source.key}.data_prefix.img_path: '{folder}' holds no images; check data_root")
    ending, count = endings.most_common(1)[0]
    raise ConfigError(
        f"{source.key}.img_suffix is '{suffix}', with which no file of '{folder}' ends ({count} end with '{ending}'); "
        f"nearest: img_suffix='{ending}'"
    )


def _check_images_exist(source: Source, images: Sequence[str]) -> None:
    """Refuse names in a split file that have no image, with the reason where it is plain."""
    suffix = _suffix(source, 'img_suffix', '.jpg')
    if not source.node.get('ann_file') or not os.path.isfile(source.ann_file):
        return
    lacking = missing_files(images)
    if not lacking:
        return
    missing = lacking[0]
    name = os.path.relpath(missing, source.folder('img_path')).removesuffix(suffix)
    key = f"{source.key}.ann_file: '{source.ann_file}'"
    if not name:
        raise ConfigError(f'{key} holds an empty line, which MMSegmentation reads as an image; remove it')
    if name.startswith('\ufeff'):
        raise ConfigError(f'{key} starts with a byte order mark (BOM); save it as UTF-8 without BOM')
    if Path(name).suffix.lower() in IMAGES:
        raise ConfigError(
            f"{key} names '{name}', to which MMSegmentation adds img_suffix '{suffix}'; write names without suffix, "
            f"nearest: '{Path(name).with_suffix('')}'"
        )
    folder, file = os.path.split(missing)
    stems = sorted(other.removesuffix(suffix) for other in names_in(folder) if other.endswith(suffix))
    raise ConfigError(
        f"{key} names '{name}', and '{missing}' does not exist ({len(lacking)} of {len(images)} images are missing); "
        f'{nearest(file.removesuffix(suffix), stems[:2000], 1)}'
    )


def _unread_note(source: Source, images: Sequence[str]) -> Iterator[str]:
    """Remark files that look like images of the data set and end otherwise."""
    if source.node.get('ann_file') or not source.inherits('mmseg.', 'BaseSegDataset', 'load_data_list'):
        return
    folder, suffix = source.folder('img_path'), _suffix(source, 'img_suffix', '.jpg')
    if folder == source.folder('seg_map_path'):
        return
    others = [name for name in _files_below(folder) if Path(name).suffix.lower() in IMAGES and name[0] != '.']
    others = sorted(name for name in others if not name.endswith(suffix))
    if others:
        yield (
            f"'{folder}' has {len(others)} images that do not end with img_suffix '{suffix}' and are not read (first: "
            f"'{others[0]}'); {len(images)} are read"
        )


def _resolve(step: Mapping[str, Any], scope: str) -> Any:
    if not isinstance(step['type'], str):
        return step['type']
    with TRANSFORMS.switch_scope_and_registry(scope) as registry:
        return registry.get(step['type'])


def _mask_loader(source: Source, scope: str) -> dict[str, Any] | None:
    """Return the step by which MMSegmentation loads masks, None where another or none loads them."""
    step = source.step('LoadAnnotations')
    method = getattr(_resolve(step, scope), '_load_seg_map', None) if step else None
    return step if getattr(method, '__module__', '').startswith('mmseg.') else None


def _refuse_no_masks(source: Source, scope: str, loader: Any, entry: Mapping[str, Any]) -> None:
    steps = [_resolve(step, scope) for step in source.steps]
    known = all(getattr(step, '__module__', '').startswith(('mmcv.', 'mmseg.', 'mmengine.')) for step in steps)
    if not steps or not known or (loader is None and any('Annotation' in step.__name__ for step in steps)):
        return
    reader = 'training' if source.trains else f'{source.loader.replace("_dataloader", "_evaluator")} (IoUMetric)'
    if loader is None:
        raise ConfigError(f'{source.key}.pipeline has no LoadAnnotations, and {reader} needs masks; add it')
    if 'seg_map_path' not in entry:
        raise ConfigError(
            f"{source.key}.data_prefix has no 'seg_map_path', and {reader} needs masks; name their folder"
        )


def _check_masks_exist(source: Source, entries: Sequence[Mapping[str, Any]]) -> None:
    paths = [str(entry['seg_map_path']) for entry in entries]
    try:
        check_exist(paths, f'{source.key}.data_prefix.seg_map_path')
    except ConfigError as error:
        suffix = _suffix(source, 'seg_map_suffix', '.png')
        path = next(path for path in paths if not os.path.isfile(path))
        folder, name = os.path.split(path)
        stem = name.removesuffix(suffix)
        endings = [other[len(stem) :] for other in sorted(names_in(folder)) if other.startswith(stem)]
        if endings and all(os.path.isfile(f'{path.removesuffix(suffix)}{endings[0]}') for path in paths):
            raise ConfigError(
                f"{source.key}.seg_map_suffix is '{suffix}', and '{path}' does not exist; nearest: "
                f"seg_map_suffix='{endings[0]}'"
            ) from error
        raise


def _masks(
    source: Source, entries: Sequence[Mapping[str, Any]], loader: Mapping[str, Any], labels: Labels
) -> Iterator[str]:
    """Read masks within the time; refuse those that do not fit, and yield remarks."""
    reduce, given = bool(entries[0].get('reduce_zero_label')), loader.get('reduce_zero_label')
    if given is not None and bool(given) != reduce:
        raise ConfigError(
            f'{source.key}: LoadAnnotations.reduce_zero_label is {given} and that of the data set {reduce}; set '
            f'{source.key}.reduce_zero_label={bool(given)} and leave it out of LoadAnnotations'
        )
    backend = str(loader.get('imdecode_backend', 'pillow'))
    image_of = {str(entry['seg_map_path']): str(entry['img_path']) for entry in entries}
    masks = []
    for path in within(list(image_of), SECONDS, FIRST):
        mask = read_mask(path, backend)
        _check_shape(source, mask, image_of[path])
        masks.append(mask)
    table = loaded_values(reduce, entries[0].get('label_map'))
    check_labels(masks, table, labels, reduce)
    sentence = one_class(masks, table, labels, reduce)
    # A member of several data sets may hold one class, and so may a sample of masks in which others are rare.
    if sentence and '.datasets.' not in source.key and len(masks) == len(image_of):
        raise ConfigError(sentence)
    if sentence:
        yield sentence
    yield from label_notes(masks, table, labels)
    if len(masks) < len(image_of):
        yield f'{source.key}: {len(masks)} of {len(image_of)} masks were read, evenly over the data set'


def _check_shape(source: Source, mask: Mask, image: str) -> None:
    header = read_header(image) if source.step('LoadImageFromFile') else None
    if header is None:
        return
    stored = (header.height, header.width)
    shape = stored[::-1] if header.orientation >= 5 else stored
    # A step that resizes both to one size makes up for masks of another size; evaluation compares at the image's.
    resize = source.step('Resize', 'RandomResize', 'RandomChoiceResize', 'ResizeShortestEdge', 'ResizeToMultiple')
    ratio = mask.shape[0] * shape[1] / (mask.shape[1] * shape[0])
    if mask.shape == shape or (source.trains and resize and (not resize.get('keep_ratio') or abs(ratio - 1) < 0.01)):
        return
    sizes = f'{mask.shape[1]}x{mask.shape[0]} pixels and its image {image!r} {shape[1]}x{shape[0]} (width x height)'
    if mask.shape == stored:
        sizes += f', because its EXIF orientation {header.orientation} turns it'
    raise ConfigError(f"'{mask.path}' has {sizes}; write masks of the size of their images")


def _padding_notes(context: Context) -> Iterator[str]:
    padding = (context.config.get('model') or {}).get('data_preprocessor') or {}
    value = padding.get('seg_pad_val', 255)
    pads = padding.get('size') or (padding.get('size_divisor') or 0) > 1
    for key, head in heads_of(context.config):
        ignored = head.get('ignore_index', 255)
        if pads and ignored is not None and ignored != value:
            yield (
                f'model.data_preprocessor.seg_pad_val is {value} and {key}.ignore_index {ignored}, so that padding '
                f'counts as a class; nearest: seg_pad_val={ignored}'
            )


__all__ = ['segmentation']
