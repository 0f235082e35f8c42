"""Rows of class scores and label embeddings when the classes of a file and of a model differ."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SCORES = re.compile(r'bbox_head\.cls_branches\.\d+\.(weight|bias)')
LABELS = 'dn_query_generator.label_embedding.weight'
PRIOR = -math.log(99.0)
"""Bias of a new class: a probability of 0.01."""
COCO, OBJECTS365 = 80, 365

COCO_IN_OBJECTS365 = (
    0, 46, 5, 58, 114, 55, 116, 65, 21, 40, 176, 127, 249, 24, 56, 139, 92, 78, 99, 96, 144, 295, 178, 180, 38, 39, 13,
    43, 120, 219, 148, 173, 165, 154, 137, 113, 145, 146, 204, 8, 35, 10, 88, 84, 93, 26, 112, 82, 265, 104, 141, 152,
    234, 143, 150, 97, 2, 50, 25, 75, 98, 153, 37, 73, 115, 132, 106, 61, 163, 134, 277, 81, 133, 18, 94, 30, 169, 70,
    328, 226,
)  # fmt: skip
"""Class of Objects365 v2 for each class of COCO, counted from 0; Peterande/D-FINE, ``src/solver/_solver.py``."""


class Rows(NamedTuple):
    """Rows of a file for the classes of a model.

    Attributes:
        sources: Row of the file for each class of the model, ``None`` for a new class.
        total: Number of rows of the file, without the one for padding.
    """

    sources: tuple[int | None, ...]
    total: int

    @property
    def new(self) -> list[int]:
        """Classes of the model without a row in the file."""
        return [index for index, row in enumerate(self.sources) if row is None]

    @property
    def unchanged(self) -> bool:
        """Whether the rows of the file are those of the model."""
        return self.sources == tuple(range(self.total))


def simplified(name: str) -> str:
    """Return a class name for comparison.

    >>> simplified(' Hair-Dryer'), simplified('traffic_light')
    ('hair dryer', 'traffic light')
    """
    return ' '.join(re.split(r'[\W_]+', name.lower())).strip()


def listed_classes(count: int) -> list[str] | None:
    """Return the class names of a model with so many classes, ``None`` for a number that tells nothing.

    Args:
        count: Number of classes: 80 for COCO, 365 for Objects365 v2.

    Raises:
        ImportError: If MMDetection, which lists the names, is not installed.
    """
    from mmdet.datasets import CocoDataset, Objects365V2Dataset

    datasets = {COCO: CocoDataset, OBJECTS365: Objects365V2Dataset}
    return list(datasets[count].METAINFO['classes']) if count in datasets else None


def known_classes(count: int) -> list[set[str]] | None:
    """Return the names of each row of a file of the release, ``None`` for a number that tells nothing.

    80 rows are COCO's classes, 365 those of Objects365 v2, and 366 the raw ids of Objects365, whose row 0 is unused.
    A class of Objects365 has the name of the corresponding class of COCO, too.

    Args:
        count: Number of rows.

    Raises:
        ImportError: If MMDetection, which lists the names, is not installed.
    """
    raw = count == OBJECTS365 + 1
    listed = listed_classes(OBJECTS365 if raw else count)
    if listed is None:
        return None
    names = [{simplified(name)} for name in listed]
    if count == COCO:
        return names
    for also, row in zip(listed_classes(COCO) or (), COCO_IN_OBJECTS365):
        names[row].add(simplified(also))
    return [set(), *names] if raw else names


def match_classes(file: Sequence[Collection[str]] | None, model: Sequence[str] | None, count: int, target: int) -> Rows:
    """Return the row of a file for each class of a model: by name, or by position where names are not known.

    Args:
        file: Names of each row of the file, from :func:`simplified`; ``None`` if unknown.
        model: Class names of the model; ``None`` if unknown.
        count: Number of rows of the file.
        target: Number of classes of the model.

    >>> match_classes([{'cat'}, {'dog', 'hound'}], ['Hound', 'bird'], 2, 2)
    Rows(sources=(1, None), total=2)
    >>> match_classes(None, ['a', 'b'], 2, 2), match_classes(None, ['a'], 2, 1)
    (Rows(sources=(0, 1), total=2), Rows(sources=(None,), total=2))
    """
    if file is None or model is None:
        return Rows(tuple(range(count)) if count == target else (None,) * target, count)
    rows = {name: index for index, names in reversed(list(enumerate(file))) for name in names}
    return Rows(tuple(rows.get(simplified(name)) for name in model), count)


def class_count(state: Mapping[str, Tensor]) -> int:
    """Return the number of rows of the class scores of a detector, 0 if it has none."""
    return len(state.get('bbox_head.cls_branches.0.bias', ()))


def take_rows(state: Mapping[str, Tensor], rows: Rows, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the weights of a file with the rows of a model's classes.

    New rows of scores are drawn from Xavier's uniform distribution, with a bias for a probability of 0.01, as in a new
    model; new label embeddings from N(0, 1). The last row of the embedding, for padding, stays.

    Args:
        state: Name to tensor under the names used here.
        rows: Rows to take.
        generator: Source of the random numbers.
    """
    taken = dict(state)
    if rows.unchanged:
        return taken
    kept = [index for index, row in enumerate(rows.sources) if row is not None]
    old = [row for row in rows.sources if row is not None]
    for name, value in state.items():
        if not SCORES.fullmatch(name) and name != LABELS:
            continue
        fresh = value.new_empty(len(rows.sources), *value.shape[1:])
        if name == LABELS:
            fresh.normal_(generator=generator)
        elif value.ndim > 1:
            # PyTorch's function takes no generator before torch 2.2.
            bound = math.sqrt(6 / sum(fresh.shape))
            fresh.uniform_(-bound, bound, generator=generator)
        else:
            fresh.fill_(PRIOR)
        fresh[kept] = value[old]
        taken[name] = torch.cat([fresh, value[rows.total :]]) if name == LABELS else fresh
    return taken


__all__ = [
    'COCO_IN_OBJECTS365',
    'Rows',
    'class_count',
    'known_classes',
    'listed_classes',
    'match_classes',
    'simplified',
    'take_rows',
]
