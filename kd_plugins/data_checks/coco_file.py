"""Annotation files in COCO's format: reading, and checks of what every reader of them needs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..utils.checks import is_integer

Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """Content of an annotation file whose lists, ids and references are valid.

    Attributes:
        path: The file.
        images: Entries of ``images``.
        annotations: Entries of ``annotations``, empty where the file has none.
        categories: Entries of ``categories``.
        image_of: Image id to entry.
    """

    path: str
    images: list[Entry]
    annotations: list[Entry]
    categories: list[Entry]
    image_of: dict[Any, Entry]

    @property
    def names(self) -> list[str]:
        """Names of the categories in the order of the file."""
        return [str(category['name']) for category in self.categories]


def read_json(path: str) -> Any:
    """Read a json file as pycocotools does, with UTF-8.

    Raises:
        ConfigError: If it starts with a byte order mark, is not UTF-8, or is not json.
    """
    content = Path(path).read_bytes()
    if not content.strip():
        raise ConfigError(f"'{path}' is empty; write it again")
    if content.startswith((b'\x1f\x8b', b'PK\x03\x04')):
        raise ConfigError(f"'{path}' is compressed, and annotation files are read as plain json; unpack it")
    if content.startswith((b'\xef\xbb\xbf', b'\xff\xfe', b'\xfe\xff')):
        raise ConfigError(
            f"'{path}' starts with a byte order mark (BOM), which json readers refuse; save it as UTF-8 without BOM"
        )
    try:
        return json.loads(content.decode('utf-8'))
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except json.JSONDecodeError as error:
        place = f'line {error.lineno}, column {error.colno}'
        raise ConfigError(f"'{path}' is not json at {place}: {error.msg}; is it cut off? write it again") from error


def _list(content: Any, name: str, path: str) -> list[Entry]:
    if not isinstance(content, dict):
        kind = 'null' if content is None else f'a {type(content).__name__}'
        raise ConfigError(
            f"'{path}' holds {kind} where COCO's format has an object with images, annotations and "
            'categories; is it a file of detections?'
        )
    if name not in content:
        raise ConfigError(f"'{path}' has no '{name}'; its keys are {', '.join(map(repr, list(content)[:6]))}")
    entries = content[name]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"'{path}': '{name}' is not a list of objects; write it in COCO's format")
    return entries


def label_of(kind: str, index: int, entry: Entry) -> str:
    """Return how an error sentence names an entry: by its id, or by its place without one."""
    return f'{kind} {entry["id"]!r}' if 'id' in entry else f'{kind} number {index}'


def require(path: str, entries: Sequence[Entry], kind: str, field: str, reason: str) -> None:
    """Refuse entries without a field.

    Raises:
        ConfigError: Naming file, field and the first entry that lacks it.
    """
    lacking = [index for index, entry in enumerate(entries) if field not in entry]
    if lacking:
        more = f' (and {len(lacking) - 1} more)' if len(lacking) > 1 else ''
        where = label_of(kind, lacking[0], entries[lacking[0]])
        raise ConfigError(f"'{path}': {where}{more} has no '{field}'; {reason}")


def _check_ids(path: str, entries: Sequence[Entry], kind: str) -> None:
    require(path, entries, kind, 'id', 'give each entry an id of its own')
    ids = [entry['id'] for entry in entries]
    bad = next((value for value in ids if not (_is_whole(value) or isinstance(value, str))), None)
    if bad is not None or None in ids:
        raise ConfigError(f"'{path}': {kind} has the id {bad!r}; valid: whole numbers")
    texts = [value for value in ids if isinstance(value, str)]
    if texts and len(texts) < len(ids):
        raise ConfigError(
            f"'{path}': {kind} has the id {texts[0]!r}, a text, and {len(ids) - len(texts)} others are numbers, which "
            'cannot be sorted together; write numbers'
        )
    if len(set(ids)) == len(ids):
        return
    seen: set[Any] = set()
    first = next(value for value in ids if value in seen or seen.add(value))  # type: ignore[func-returns-value]
    raise ConfigError(
        f"'{path}': the {kind} id {first!r} occurs {ids.count(first)} times ({len(ids) - len(set(ids))} ids are not "
        'unique); give each entry an id of its own'
    )


def _is_whole(value: Any) -> bool:
    return is_integer(value) or (isinstance(value, float) and value.is_integer())


def numbers(path: str, entries: Sequence[Entry], kind: str, field: str) -> NDArray[np.float64]:
    """Return a field of all entries as finite numbers.

    Raises:
        ConfigError: Naming the first entry whose field is no finite number.
    """
    values = [entry[field] for entry in entries]
    array = np.asarray(values) if all(isinstance(value, (int, float)) for value in values) else None
    if array is None or not np.isfinite(array.astype(np.float64)).all():
        index = next(at for at, value in enumerate(values) if not _is_finite(value))
        where = label_of(kind, index, entries[index])
        raise ConfigError(f"'{path}': {where} has the {field} {values[index]!r}; it must be a finite number")
    return array.astype(np.float64)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def boxes(path: str, entries: Sequence[Entry]) -> NDArray[np.float64]:
    """Return the boxes of annotations, of shape (N, 4) as x, y, width, height.

    Raises:
        ConfigError: Naming the first annotation whose box is not four finite numbers.
    """
    rows = [entry['bbox'] for entry in entries]
    try:
        array = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
        if np.isfinite(array).all() and not any(isinstance(value, str) for row in rows for value in row):
            return array
    except (TypeError, ValueError, IndexError):
        pass
    index = next(
        (
            at
            for at, row in enumerate(rows)
            if not isinstance(row, list) or len(row) != 4 or not all(map(_is_finite, row))
        ),
        0,
    )
    where = label_of('annotation', index, entries[index])
    raise ConfigError(
        f"'{path}': {where} has the bbox {str(rows[index])[:60]}; it must be four finite numbers, x, y, width, height"
    )


def read_coco(path: str) -> CocoFile:
    """Read an annotation file and check its lists, ids, references and image entries.

    Raises:
        ConfigError: Naming file, entry and field.
    """
    content = read_json(path)
    images, categories = _list(content, 'images', path), _list(content, 'categories', path)
    annotations = _list(content, 'annotations', path) if 'annotations' in content else []
    for name, entries in (('images', images), ('categories', categories)):
        if not entries:
            raise ConfigError(
                f"'{path}': the list '{name}' is empty, so that there is nothing to read; write the file again"
            )
    for entries, kind in ((images, 'image'), (annotations, 'annotation'), (categories, 'category')):
        _check_ids(path, entries, kind)
    require(path, categories, 'category', 'name', 'name it')
    nameless = next((category for category in categories if not isinstance(category['name'], str)), None)
    if nameless is not None:
        raise ConfigError(f"'{path}': category {nameless['id']!r} has the name {nameless['name']!r}; it must be a text")
    for field in ('file_name', 'width', 'height'):
        require(path, images, 'image', field, f'add the {field.replace("_", " ")}')
    bad_name = next((image for image in images if not isinstance(image['file_name'], str)), None)
    if bad_name is not None:
        raise ConfigError(
            f"'{path}': image {bad_name['id']!r} has the file_name {bad_name['file_name']!r}; it must be a text"
        )
    for field in ('width', 'height'):
        sizes = numbers(path, images, 'image', field)
        if (sizes <= 0).any():
            image = images[int((sizes <= 0).argmax())]
            raise ConfigError(
                f"'{path}': image {image['id']!r} has the {field} {image[field]!r}; write that of the file"
            )
    file = CocoFile(path, images, annotations, categories, {image['id']: image for image in images})
    _check_references(file)
    return file


def _check_references(file: CocoFile) -> None:
    path, annotations = file.path, file.annotations
    require(path, annotations, 'annotation', 'image_id', 'add the id of its image')
    require(path, annotations, 'annotation', 'category_id', 'add the id of its category')
    known = {category['id'] for category in file.categories}
    foreign = next((entry for entry in annotations if _missing(entry['category_id'], known)), None)
    if foreign is not None:
        ids = ', '.join(map(repr, sorted(known, key=str)[:8]))
        raise ConfigError(
            f"'{path}': annotation {foreign['id']!r} has the category_id {foreign['category_id']!r}, which no entry of "
            f'categories has; valid: {ids}'
        )
    lost = [entry for entry in annotations if _missing(entry['image_id'], file.image_of)]
    if lost and (len(lost) == len(annotations) or str(lost[0]['image_id']) in {str(value) for value in file.image_of}):
        first = next(iter(file.image_of), None)
        raise ConfigError(
            f"'{path}': annotation {lost[0]['id']!r} has the image_id {lost[0]['image_id']!r}, which no image has "
            f'({len(lost)} of {len(annotations)} annotations); the ids of images are like {first!r}'
        )


def _missing(value: Any, known: Any) -> bool:
    return isinstance(value, (list, dict)) or value not in known


def id_notes(file: CocoFile, key: str) -> list[str]:
    """Return a remark on an annotation id of 0, which pycocotools takes for "not matched".

    Args:
        file: The evaluator's annotation file.
        key: Config key of the evaluator.
    """
    if any(entry['id'] == 0 for entry in file.annotations):
        return [
            f"'{file.path}': an annotation has the id 0, so that {key} counts its object as missed even where it is "
            'detected; number annotations from 1'
        ]
    return []


def file_notes(file: CocoFile) -> list[str]:
    """Return remarks on what a reader leaves out without a word."""
    notes = []
    lost = [entry for entry in file.annotations if entry['image_id'] not in file.image_of]
    if lost:
        notes.append(
            f"'{file.path}': {len(lost)} annotations belong to images that the file does not list (first: annotation "
            f'{lost[0]["id"]!r}, image_id {lost[0]["image_id"]!r}); they are not read'
        )
    names = [image['file_name'] for image in file.images]
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        notes.append(
            f"'{file.path}': {len(names) - len(set(names))} images have the file name of another (first: '{twice}')"
        )
    return notes
