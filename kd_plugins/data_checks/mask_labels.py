"""Labels of segmentation masks, compared with the classes of model and evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray

from ..config.loading import class_name
from ..errors import ConfigError
from .mask_values import Mask
from .metainfo import shown
from .sources import Source


@dataclass(frozen=True)
class Labels:
    """Labels that masks may hold.

    Attributes:
        key: Config key of the number of classes.
        count: Number of labels, from 0; two for a head with one sigmoid output.
        ignored: Labels of pixels that are left out.
        names: Class names; empty where they are unknown.
        trains: Whether the masks are those of the training.
        note: A remark on the model, empty without any.
    """

    key: str
    count: int
    ignored: tuple[int, ...]
    names: tuple[str, ...]
    trains: bool
    note: str = ''


def heads_of(config: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield config key and config of each segmentation head, auxiliary ones included."""
    model = config.get('model') or {}
    for name in ('decode_head', 'auxiliary_head'):
        heads = model.get(name)
        if isinstance(heads, Mapping):
            yield f'model.{name}', heads
        elif isinstance(heads, (list, tuple)):
            yield from ((f'model.{name}.{index}', head) for index, head in enumerate(heads) if head)


def labels_of(
    config: Config, source: Source, classes: Sequence[str] | None, metrics: Sequence[Mapping[str, Any]]
) -> Labels | None:
    """Return the labels that training or ``IoUMetric`` can use, None where nothing reads the masks.

    Raises:
        ConfigError: If model and data set have different numbers of classes.
    """
    names, evaluator = tuple(classes or ()), source.loader.replace('_dataloader', '_evaluator')
    heads = [(key, head) for key, head in heads_of(config) if head.get('num_classes')]
    main = next((item for item in reversed(heads) if item[0].startswith('model.decode_head')), None)
    binary = main is not None and 'loss_decode' in main[1] and _logits(main[1]) == 1
    if source.trains:
        if main is None:
            return None
        _check_one_logit(*main)
        ignored = {head.get('ignore_index', 255) for _, head in heads} - {None}
        common = tuple(sorted(ignored)) if len(ignored) == 1 else ()
        count = 2 if binary else int(main[1]['num_classes'])
        return Labels(f'{main[0]}.num_classes', count, common, names, True)
    if not metrics or not names:
        return None
    if main is not None and len(names) != main[1]['num_classes'] and not (binary and len(names) == 2):
        raise ConfigError(
            f'{main[0]}.num_classes is {main[1]["num_classes"]}, but {source.loader}.dataset has {len(names)} classes '
            f'({shown(names)}); make both equal'
        )
    note = (
        f'{evaluator}: with the one class {names[0]!r}, IoUMetric counts every pixel as this class, so that background '
        f"raises its values; nearest: metainfo.classes=('background', {names[0]!r})"
        if len(names) == 1
        else ''
    )
    ignored = {metric.get('ignore_index', 255) for metric in metrics}
    count = 2 if binary else len(names)
    return Labels(f'{source.key}.metainfo.classes', count, tuple(sorted(ignored)), names, False, note)


def _logits(head: Mapping[str, Any]) -> int:
    return int(head.get('out_channels') or head['num_classes'])


def _check_one_logit(key: str, head: Mapping[str, Any]) -> None:
    losses = head.get('loss_decode') or []
    for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
        name = class_name(loss)
        if _logits(head) == 1 and name == 'CrossEntropyLoss' and not loss.get('use_sigmoid'):
            raise ConfigError(
                f'{key}.loss_decode: a softmax over one output is constant, so that nothing is learnt; use '
                'use_sigmoid=True, or num_classes=2 without out_channels'
            )


def check_labels(masks: Sequence[Mask], table: NDArray[np.int64], labels: Labels, reduce: bool) -> None:
    """Refuse values that are no class and not ignored.

    Args:
        masks: Masks that were read.
        table: Label that each stored value becomes.
        labels: Labels that may occur.
        reduce: Whether ``reduce_zero_label`` is set.

    Raises:
        ConfigError: Naming the first file, its value and the classes.
    """
    stored = _stored(masks)
    bad = [value for value in stored if table[value] >= labels.count and table[value] not in labels.ignored]
    holders = [mask for mask in masks if set(bad) & set(mask.values.tolist())]
    if not holders:
        return
    value = next(value for value in holders[0].values.tolist() if value in bad)
    becomes = f', which is loaded as {table[value]}' if table[value] != value else ''
    ignores = f' and {" and ".join(map(str, labels.ignored))} for pixels to ignore' if labels.ignored else ''
    raise ConfigError(
        f"'{holders[0].path}' holds the value {value}{becomes} ({len(holders)} of {len(masks)} masks hold such "
        f'values), and {labels.key} allows 0 to {labels.count - 1}{_names(labels)}{ignores}; '
        f'{_advice(holders[0].path, stored, labels, reduce)}'
    )


def _stored(masks: Sequence[Mask]) -> list[int]:
    return sorted({int(value) for mask in masks for value in mask.values})


def one_class(masks: Sequence[Mask], table: NDArray[np.int64], labels: Labels, reduce: bool) -> str | None:
    """Return a sentence where all masks hold at most one class, so that nothing is learnt or measured.

    Masks of an evaluation without ignored pixels may hold one class; for those, return None.
    """
    stored = _stored(masks)
    rest = [value for value in stored if int(table[value]) in labels.ignored]
    counted = {int(table[value]) for value in stored} - set(labels.ignored)
    if len(counted) > 1 or not masks or labels.count < 2 or not (labels.trains or rest):
        return None
    if reduce:
        advice = 'reduce_zero_label=True ignores 0 and makes 1 to 0; nearest: reduce_zero_label=False'
    elif rest and rest[0] < labels.count:
        advice = f'ignore_index is {rest[0]}, the index of a class; nearest: ignore_index=255'
    elif rest and labels.count == 2:
        advice = f'write 1 instead of {rest[0]} for class 1'
    else:
        advice = 'write the index of the class of each pixel'
    ignored = f', of which {" and ".join(map(str, rest))} is ignored' if rest else ''
    return (
        f"'{masks[0].path}' and all {len(masks)} masks hold the value {' and '.join(map(str, stored))} alone{ignored}, "
        f'and {labels.key} has {labels.count} classes{_names(labels)}; {advice}'
    )


def _names(labels: Labels) -> str:
    return f' ({shown(labels.names)})' if labels.names else ''


def _advice(path: str, stored: Sequence[int], labels: Labels, reduce: bool) -> str:
    if path.lower().endswith(('.jpg', '.jpeg')):
        return 'JPEG compression changes values; save masks as PNG'
    if len(stored) == 2 and labels.count == 2 and stored[0] == 0:
        return f'write 1 instead of {stored[1]}'
    classes = [value for value in stored if value not in labels.ignored]
    if not reduce and classes[0] >= 1 and classes[-1] == labels.count:
        return 'write classes from 0; or set reduce_zero_label=True, which makes 1 to 0 and ignores 0'
    if not reduce and classes[-1] == labels.count:
        return f'name {labels.count + 1} classes; or set reduce_zero_label=True if 0 is none of them'
    return 'write class indices, or name every class'


def label_notes(masks: Sequence[Mask], table: NDArray[np.int64], labels: Labels) -> Iterator[str]:
    """Yield remarks on classes that do not occur, masks without a class, and lossy files."""
    if labels.note:
        yield labels.note
    loaded = [{int(table[value]) for value in mask.values} for mask in masks]
    ignored = set(labels.ignored)
    empty = [mask.path for mask, values in zip(masks, loaded) if values <= ignored]
    if empty:
        yield f"{len(empty)} of {len(masks)} masks hold ignored pixels alone (first: '{min(empty)}')"
    unused = sorted(set(range(labels.count)) - set().union(*loaded))
    if unused:
        names = [labels.names[at] if at < len(labels.names) == labels.count else at for at in unused]
        where = 'training' if labels.trains else 'evaluation'
        yield f'{len(masks)} masks of the {where} have no pixel of class {", ".join(map(repr, names[:5]))}'
    lossy = sorted(mask.path for mask in masks if mask.path.lower().endswith(('.jpg', '.jpeg')))
    if lossy:
        yield f"'{lossy[0]}' is a JPEG, whose compression may change class indices at edges; save masks as PNG"
