"""Controls of a comparison: arms that share one part of a distilled config, and not the distillation."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from torch import Tensor

from ..checkpoints import compare_weights, load_checkpoint, weights_of, with_versions
from ..config.hook_entries import distill_entry
from ..config.loading import class_name, walk
from ..errors import ConfigError
from ..utils.files import write_atomically
from .made import Control, Made, import_as
from .teacher_controls import frozen_teachers, random_teacher, shuffled_teacher

QUALITY_LOSSES = ('VFLLoss', 'MALLoss', 'QualityFocalLoss')
"""Class losses whose target is the quality of a box, which the heads of plain detectors know as well."""


def quality_loss(baseline: Config, distilled: Config, folder: Path) -> Made:
    """Return the baseline with the class loss of the distilled config.

    Raises:
        ConfigError: If the distilled config has no quality loss where the baseline has a class loss, or the same.
    """
    config = copy.deepcopy(baseline)
    given = dict(walk(distilled.get('model'), 'model'))
    losses = {path: node for path, node in given.items() if path.endswith('.loss_cls')}
    losses_of_proposals = {path: node for path, node in given.items() if path.endswith('.loss_proposal_cls')}
    quality = {path: node for path, node in losses.items() if class_name(node) in QUALITY_LOSSES}
    if not quality:
        found = ', '.join(sorted({class_name(node) for node in losses.values()})) or 'no loss_cls'
        raise ConfigError(f'its model has {found}; valid: a loss_cls of type {" or ".join(QUALITY_LOSSES)}')
    nodes = dict(walk(config.get('model'), 'model'))
    changed, remarks = [], []
    for path, node in quality.items():
        place = path.rpartition('.')[0]
        head = nodes.get(place)
        if head is None or 'loss_cls' not in head or head['loss_cls'] == node:
            continue
        head['loss_cls'] = copy.deepcopy(node)
        changed.append(path)
        remarks += _set_proposal_loss(place, head, losses_of_proposals.get(f'{place}.loss_proposal_cls'))
    if not changed:
        raise ConfigError(f'the baseline has the same class loss, or none, at {", ".join(quality)}')
    import_as(config, distilled)
    names = ', '.join(sorted({class_name(quality[path]) for path in changed}))
    text = f'the baseline with the class loss of the distilled config ({names} at {", ".join(changed)})'
    return Made(config, text, remarks)


def _set_proposal_loss(place: str, head: dict[str, Any], loss: dict[str, Any] | None) -> list[str]:
    """Give a plain head the loss that the distilled head has for its proposals; return a remark where it cannot."""
    if loss is None:
        return []
    if class_name(head) != 'DINOHead':
        return [f'{class_name(head)} has no loss of its own for proposals, as {place}.loss_proposal_cls is']
    head.update(type='kd_plugins.ProposalLossDINOHead', loss_proposal_cls=copy.deepcopy(loss))
    return []


def restart_on_labels(baseline: Config, distilled: Config, folder: Path) -> Made:
    """Return a second stage on the labels alone: the same start, new and frozen parts and budget, without distillers.

    Raises:
        ConfigError: If the distilled config restarts nothing.
    """
    config = copy.deepcopy(distilled)
    entry = distill_entry(config) or {}
    restart = entry.get('restart')
    if not restart:
        raise ConfigError("it restarts nothing; valid: a second stage with distill.restart=dict(parts=['head'])")
    kept = {
        key: entry[key] for key in ('type', 'restart', 'atomic_checkpoints', 'checks', 'log_interval') if key in entry
    }
    entry.clear()
    entry.update(**kept, distillers={})
    parts = ', '.join(restart['parts'])
    return Made(
        config, f'the distilled config without its distillers: {parts} new, the rest frozen, the task loss alone'
    )


def inherit(baseline: Config, distilled: Config, folder: Path) -> Made:
    """Return the baseline that starts with the parameters of the finished teacher, except those of the backbone.

    Source: the inheriting strategy of FGD (arXiv 2111.11837), which copies neck and head.

    Raises:
        ConfigError: If there is not exactly one frozen teacher, or none of its parameters fits.
        CheckpointError: If its checkpoint cannot be read.
    """
    teachers = frozen_teachers(distilled)
    if len(teachers) > 1:
        raise ConfigError(
            f'it has {len(teachers)} frozen teachers ({", ".join(teachers)}), and a student inherits from one'
        )
    ((key, teacher),) = teachers.items()
    config = copy.deepcopy(baseline)
    scope = config.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope):
        init_default_scope(scope)
        current = MODELS.build(copy.deepcopy(config.model)).state_dict()
    start = weights_of(load_checkpoint(config.load_from, key='load_from')) if config.get('load_from') else {}
    known = weights_of(load_checkpoint(teacher['checkpoint'], key=f'{key}.checkpoint'))
    fitting = compare_weights(known, current).loaded
    inherited = {name: known[name] for name in fitting if 'backbone' not in name.split('.')}
    if not inherited:
        raise ConfigError(f"no parameter of '{teacher['checkpoint']}' outside the backbone fits the baseline")
    config.load_from = str(_write_weights(with_versions({**start, **inherited}, known), folder))
    config.resume = False
    count = f'{len(inherited)} of its {len(current)} tensors'
    return Made(config, f'the baseline, started with {count} from the teacher, none of the backbone')


def _write_weights(weights: Mapping[str, Tensor], folder: Path) -> Path:
    """Write weights under a name that follows from them, so that a config names their values."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b''
        )
    path = folder / f'inherit_{digest.hexdigest()[:12]}.pth'
    if not path.is_file():
        buffer = io.BytesIO()
        torch.save({'state_dict': weights, 'meta': {}}, buffer)
        write_atomically(path, buffer.getvalue())
    return path.resolve()


CONTROLS = {
    'quality-loss': Control(quality_loss, 'baseline'),
    'random-teacher': Control(random_teacher, 'distilled'),
    'shuffled-teacher': Control(shuffled_teacher, 'distilled'),
    'restart-on-labels': Control(restart_on_labels, 'distilled'),
    'inherit': Control(inherit, 'baseline'),
}
"""Name to control."""
