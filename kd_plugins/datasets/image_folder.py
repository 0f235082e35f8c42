"""Images without annotations: every image of a folder, the images of a COCO file, or one box of an image an item."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray

from ..errors import ConfigError, nearest
from ..registry import DATASETS
from ..utils.argument_types import shown
from ..utils.checks import check_number, is_integer
from ..utils.files import missing_files

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
"""Suffixes of image files, compared in lower case."""
PREFIXES = ('img_path', 'img')
"""Key of the image folder in ``data_prefix``: MMEngine's and MMSegmentation's, or MMDetection's and MMPose's."""

Item = dict[str, Any]


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """Images without annotations, for the pipelines of MMDetection, MMSegmentation and MMPose.

    Without ``ann_file``, the items are all images below the folder, sorted by their path in it. Files and folders whose
    names start with a dot are left out, and links to folders are followed. With ``ann_file``, the items are the images
    of a COCO file in its order; its annotations are ignored. With ``bbox_file`` as well, each item is one box of an
    image, for top-down pose estimators.

    An item holds ``img_path``, ``img_id``, empty ``instances`` and ``seg_fields``, and ``height`` and ``width`` where
    the list has them. An item with a box also holds ``bbox`` (x1, y1, x2, y2 in pixels, shape (1, 4)), ``bbox_score``
    (shape (1,)), ``id`` and ``category_id``.

    Args:
        data_root: Folder of the images, searched with all its subfolders.
        ann_file: COCO file whose ``images`` are used. A relative path starts at ``data_root``.
        data_prefix: Folder of the images below ``data_root``, as ``dict(img_path=...)`` or ``dict(img=...)``.
        bbox_file: COCO detection results, a list of ``dict(image_id=..., category_id=..., bbox=[x, y, w, h],
            score=...)``, or a labelled COCO file, of which only the boxes are used. As in MMPose, a relative path
            starts at the working directory, and ``ann_file`` is needed for the names of the images. Boxes without area
            and those of crowds are left out.
        bbox_score_thr: Lowest score of a box that is used; a box without a score has 1.
        bbox_category: Category of the boxes that are used, by default COCO's person; None uses all.
        **kwargs: Arguments of MMEngine's ``BaseDataset``, such as ``pipeline`` and ``indices``.

    Raises:
        ConfigError: If the folder or a file is missing or cannot be read, or if no image or no box is in it.
    """

    def __init__(
        self,
        data_root: str = '',
        ann_file: str = '',
        data_prefix: dict[str, str] | None = None,
        bbox_file: str | None = None,
        bbox_score_thr: float = 0.0,
        bbox_category: int | None = 1,
        **kwargs: Any,
    ) -> None:
        prefix = {'img_path': ''} if data_prefix is None else dict(data_prefix)
        unknown = next((name for name in prefix if name not in PREFIXES), None)
        if unknown is not None or len(prefix) != 1:
            advice = nearest(unknown, PREFIXES) if unknown is not None else 'give one of img_path, img'
            raise ConfigError(f'dataset.data_prefix is {shown(prefix)}; {advice}')
        if bbox_file and not ann_file:
            raise ConfigError('dataset.bbox_file needs dataset.ann_file, the COCO file with the names of the images')
        if bbox_category is not None and not is_integer(bbox_category):
            raise ConfigError(f'dataset.bbox_category is {shown(bbox_category)}; valid: 1, None')
        self.bbox_file = bbox_file
        self.bbox_score_thr = check_number('dataset.bbox_score_thr', bbox_score_thr, positive=False, example=0.5)
        self.bbox_category = bbox_category
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[Item]:
        """Return the images of the folder or of the list, or the boxes of the images."""
        (folder,) = self.data_prefix.values()
        if not self.ann_file:
            return [_item(path, index) for index, path in enumerate(find_images(folder))]
        images = read_images(self.ann_file, folder)
        if not self.bbox_file:
            return images
        return read_boxes(self.bbox_file, images, self.bbox_score_thr, self.bbox_category)


def find_images(folder: str) -> list[str]:
    """Return the paths of all images below a folder, sorted by their path in it.

    Args:
        folder: The folder.

    Raises:
        ConfigError: If there is no such folder, or no image in it.
    """
    if not folder:
        raise ConfigError("dataset.data_root is ''; give the folder of the images, or a COCO file as dataset.ann_file")
    folder = os.path.normpath(folder)
    if not os.path.isdir(folder):
        kind = 'is a file' if os.path.exists(folder) else 'does not exist'
        raise ConfigError(f"dataset.data_root: the folder '{folder}' {kind}; give the folder of the images")
    names = sorted(Path(path).relative_to(folder).as_posix() for path in _image_files(folder))
    if not names:
        raise ConfigError(
            f"dataset.data_root: the folder '{folder}' holds no image; the suffixes of images are {', '.join(SUFFIXES)}"
        )
    return [os.path.join(folder, name) for name in names]


def _image_files(folder: str) -> Iterator[str]:
    """Yield the image files below a folder, each linked folder once."""
    visited = {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, followlinks=True):
        children = sorted(name for name in folders if not name.startswith('.'))
        folders.clear()
        for name in children:
            target = os.path.realpath(os.path.join(parent, name))
            if target not in visited:  # a link to a folder above would never end
                visited.add(target)
                folders.append(name)
        for name in files:
            if not name.startswith('.') and name.lower().endswith(SUFFIXES):
                yield os.path.join(parent, name)


def read_images(path: str, folder: str) -> list[Item]:
    """Return the images of a COCO file.

    Args:
        path: The file.
        folder: Folder at which relative file names start.

    Raises:
        ConfigError: If the file cannot be read, is not in COCO's format, or names files that do not exist.
    """
    key = 'dataset.ann_file'
    content = _read_json(path, key)
    images = content.get('images') if isinstance(content, dict) else None
    if not isinstance(images, list):
        held = f'the keys {shown(list(content)[:6])}' if isinstance(content, dict) else f'a {type(content).__name__}'
        raise ConfigError(f"{key}: '{path}' holds {held}; it must be an object with a list 'images', as in COCO")
    if not images:
        raise ConfigError(f"{key}: '{path}' lists no image")
    items = []
    for index, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get('file_name'), str):
            raise ConfigError(f"{key}: image number {index} of '{path}' has no 'file_name'")
        item = _item(os.path.join(folder, image['file_name']), image.get('id', index))
        items.append(item | {name: image[name] for name in ('height', 'width') if name in image})
    missing = missing_files(item['img_path'] for item in items)
    if missing:
        raise ConfigError(
            f"{key}: '{path}' lists {len(items)} images and {len(missing)} of them do not exist, the first is "
            f"'{missing[0]}'; set dataset.data_root and dataset.data_prefix to their folder"
        )
    return items


def read_boxes(path: str, images: list[Item], score_thr: float, category: int | None) -> list[Item]:
    """Return one item for each box of a file of detection results.

    Args:
        path: The file, in COCO's format of detection results or of annotations.
        images: Items of the images.
        score_thr: Lowest score of a box.
        category: Category of the boxes; None takes all.

    Raises:
        ConfigError: If the file cannot be read, is not in that format, names an unknown image, or no box is left.
    """
    key = 'dataset.bbox_file'
    content = _read_json(path, key)
    results = content.get('annotations') if isinstance(content, Mapping) else content
    if not isinstance(results, list):
        raise ConfigError(
            f"{key}: '{path}' holds a {type(content).__name__}; it must be a list of objects with image_id, "
            "category_id, bbox and score, or an object with a list 'annotations', as in COCO"
        )
    by_id = {image['img_id']: image for image in images}
    items: list[Item] = []
    for index, result in enumerate(results):
        box = _box(result)
        if box is None:
            raise ConfigError(f"{key}: box number {index} of '{path}' has no image_id or no bbox [x, y, w, h]")
        if result['image_id'] not in by_id:
            raise ConfigError(
                f"{key}: box number {index} of '{path}' is of image {shown(result['image_id'])}, which "
                'dataset.ann_file does not list'
            )
        score, label = float(result.get('score', 1.0)), result.get('category_id', 1)
        if score < score_thr or (category is not None and label != category) or box[2] <= 0 or box[3] <= 0:
            continue
        if result.get('iscrowd'):
            continue
        corners = np.concatenate([box[:2], box[:2] + box[2:]])[None]
        place = {'bbox': corners, 'bbox_score': np.array([score], dtype=np.float32)}
        items.append(by_id[result['image_id']] | place | {'id': len(items), 'category_id': label})
    if not items:
        raise ConfigError(
            f"{key}: none of the {len(results)} boxes of '{path}' has a score of at least {score_thr:g} and the "
            f'category {category}; lower dataset.bbox_score_thr, or set dataset.bbox_category=None for all categories'
        )
    return items


def _item(path: str, image_id: Any) -> Item:
    """Return the fields that loading, augmentation and packing read; no instances, no segmentation map."""
    return {'img_path': path, 'img_id': image_id, 'instances': [], 'seg_fields': [], 'reduce_zero_label': False}


def _box(result: Any) -> NDArray[np.float32] | None:
    """Return the box x, y, w, h of one detection result, or None where the result is malformed."""
    if not isinstance(result, Mapping) or 'image_id' not in result:
        return None
    try:
        box = np.array(result['bbox'], dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        return None
    return box if box.shape == (4,) and bool(np.isfinite(box).all()) else None


def _read_json(path: str, key: str) -> Any:
    """Return the content of a json file, with one error sentence for a file that cannot be read."""
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"{key}: '{path}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{key}: '{path}' is not json: {error}") from error
