"""Manifest of a chain of trainings: results of its stages, and the state of each stage."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoints import AtomicBackend, load_checkpoint, numbered_checkpoints
from ..errors import CheckpointError, ConfigError
from ..ops.fisher import KEY as FISHER
from ..runner.launch import versions
from ..runner.processes import has_hash, training_length
from ..runner.run_log import metrics_at, read_run, without_nan
from ..version import __version__
from .checkpoint_selection import KEPT_META, chosen_weights, file_hash, packed, pick_checkpoint
from .spec import CONFIGS, REPLACED, Plan

MANIFEST = 'stages.json'
UNITS = {'epoch': ('epochs', 'epoch'), 'iter': ('iterations', 'iteration')}
"""MMEngine's unit to the manifest's names for the length of a training and for a point in it."""


def write_config(plan: Plan, work_dir: Path) -> Path:
    """Write the config of a stage, with the paths of the files that it takes, and return its path."""
    config = copy.deepcopy(plan.config)
    assert config is not None
    for key, source in plan.stage.takes.items():
        config.merge_from_dict({key: str((work_dir / f'{source}.pth').resolve())})
    path = work_dir / CONFIGS / f'{plan.stage.name}.py'
    AtomicBackend().put(config.pretty_text.encode(), path)
    return path


def read_manifest(work_dir: Path) -> dict[str, dict[str, Any]]:
    """Return name to entry of all stages that were started in a folder.

    Raises:
        ConfigError: If the file is damaged.
    """
    path = work_dir / MANIFEST
    try:
        return dict(json.loads(path.read_text(encoding='utf-8'))['stages']) if path.is_file() else {}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--work-dir: '{path}' is damaged ({error}); repair it or choose another --work-dir"
        ) from error


def write_manifest(work_dir: Path, entries: Mapping[str, Any], **about: Any) -> None:
    """Write the manifest in one step, so that an interrupted write leaves the old one.

    Args:
        work_dir: Folder of the chain.
        entries: Name to entry of the stages.
        about: Further entries about the chain.
    """
    whole = {'kd_plugins': __version__, **about, 'versions': versions(), 'stages': dict(entries)}
    AtomicBackend().put(f'{json.dumps(without_nan(whole), indent=2)}\n'.encode(), work_dir / MANIFEST)


def state_of(plan: Plan, entries: Mapping[str, Any], work_dir: Path) -> str:
    """Return the state of a stage: ``'new'``, ``'resume'``, ``'pick'`` or ``'finished'``.

    ``'pick'`` means that the training is complete, and that the exported file is missing, damaged or of another rule.

    Args:
        plan: The stage.
        entries: Name to entry, from the manifest.
        work_dir: Folder of the chain.

    Raises:
        ConfigError: If the folder holds results of other settings.
    """
    stage = plan.stage
    entry, folder = entries.get(stage.name), work_dir / stage.name
    if entry is None and numbered_checkpoints(folder):
        raise ConfigError(
            f"--work-dir: '{folder}' holds checkpoints that are not in {MANIFEST}; --redo {stage.name} puts them "
            f"into '{work_dir / REPLACED}'"
        )
    trained = entry is not None and entry['status'] in ('trained', 'finished')
    if entry is None or not (trained or numbered_checkpoints(folder)):
        return 'new'
    changed = _change(plan, entry, entries, work_dir)
    if changed:
        raise ConfigError(
            f"stage '{stage.name}' is {entry['status']}, and {changed}; --redo {stage.name} trains it again (the old "
            f"results go to '{work_dir / REPLACED}'), another --work-dir keeps both"
        )
    if not trained:
        return 'resume'
    file, rule = work_dir / f'{stage.name}.pth', (None if stage.config is None else stage.pick, stage.ema)
    if entry['status'] == 'trained' or rule != (entry['pick'], entry['ema']) or not file.is_file():
        return 'pick'
    return 'finished' if file_hash(file) == entry['sha256'] else 'pick'


def _change(plan: Plan, entry: Mapping[str, Any], entries: Mapping[str, Any], work_dir: Path) -> str:
    name = plan.stage.name
    was_trained = 'config' in entry
    if was_trained != (plan.config is not None):
        return f'it was {"trained" if was_trained else "a checkpoint"} then'
    if plan.config is None and plan.hash != entry['checkpoint_sha256']:
        return f"stages.{name}.checkpoint is not the file that it was then ('{entry['checkpoint']}')"
    if plan.config is not None and not has_hash(plan.config, entry['config_sha256']):
        written = work_dir / CONFIGS / f'{name}.py'
        ignored = set(plan.stage.takes) | set(entry['takes'])
        what = difference(Config.fromfile(written), plan.config, ignored) if written.is_file() else ''
        return f'its config has changed since{f" ({what})" if what else ""}'
    for key, source in plan.stage.takes.items():
        upstream = entries.get(source, {})
        if upstream.get('status') == 'finished' and upstream['sha256'] != entry['takes'][key]['sha256']:
            return f"'{source}', which it takes as {key}, is another file now"
    return ''


def difference(old: Config, new: Config, ignored: Iterable[str] = ()) -> str:
    """Return the first setting that differs, as ``KEY is NEW, was OLD``, or an empty string.

    >>> difference(Config({'x': {'y': [1, 2]}}), Config({'x': {'y': [1, 3]}}))
    'x.y is [1, 3], was [1, 2]'
    """
    before, after = (dict(_leaves(config.to_dict())) for config in (old, new))
    for key in [*after, *before]:
        was, now = before.get(key, 'not set'), after.get(key, 'not set')
        if was != now and key not in ignored:
            return f'{key} is {now}, was {was}'
    return ''


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        items: Iterable[tuple[Any, Any]] = node.items()
    elif isinstance(node, (list, tuple)) and any(isinstance(entry, dict) for entry in node):
        items = enumerate(node)
    else:
        yield path, node
        return
    for key, child in items:
        yield from _leaves(child, f'{path}.{key}' if path else str(key))


def set_aside(work_dir: Path, entries: dict[str, Any], names: Iterable[str]) -> None:
    """Move the results of stages into the folder ``replaced``, and remove their entries."""
    for name in names:
        index = 1
        while (target := work_dir / REPLACED / f'{name}-{index}').exists():
            index += 1
        results = [work_dir / name, work_dir / f'{name}.pth', work_dir / CONFIGS / f'{name}.py']
        for path in [path for path in results if path.exists()]:
            target.mkdir(parents=True, exist_ok=True)
            path.rename(target / path.name)
        entries.pop(name, None)


def first_entry(plan: Plan, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest entry of a stage that starts."""
    stage, config = plan.stage, plan.config
    entry: dict[str, Any] = {'status': 'running'}
    if config is None:
        return {**entry, 'checkpoint_sha256': plan.hash, 'takes': {}, 'pick': None, 'ema': stage.ema, 'seconds': 0.0}
    unit, length = training_length(config)
    taken = {key: {'stage': name, 'sha256': entries[name]['sha256']} for key, name in stage.takes.items()}
    return {
        **entry,
        'config': stage.config,
        'config_sha256': plan.hash,
        'cfg_options': {**stage.cfg_options, **plan.options},
        'seed': (config.get('randomness') or {}).get('seed'),
        UNITS[unit][0]: length,
        'takes': taken,
        'pick': stage.pick,
        'ema': stage.ema,
        'seconds': 0.0,
    }


def finish(plan: Plan, entry: dict[str, Any], work_dir: Path) -> None:
    """Select a stage's checkpoint, export its weights to ``WORK_DIR/STAGE.pth``, and complete the entry.

    Args:
        plan: The stage.
        entry: Its manifest entry; changed in place.
        work_dir: Folder of the chain.

    Raises:
        CheckpointError: If no checkpoint satisfies the rule.
    """
    stage, config = plan.stage, plan.config
    key = f'stages.{stage.name}'
    if config is None:
        path: str | Path = str(stage.checkpoint)
        checkpoint = load_checkpoint(path, f'{key}.checkpoint')
        meta, reached = dict(checkpoint.get('meta') or {}), {}
    else:
        path = pick_checkpoint(work_dir / stage.name, config, stage.pick, key)
        checkpoint = load_checkpoint(path, key)
        path = path.relative_to(work_dir).as_posix()
        meta = {name: checkpoint['meta'][name] for name in KEPT_META if name in checkpoint['meta']}
        meta['cfg'] = config.pretty_text
        unit, _ = training_length(config)
        reached = {'seed': meta.get('seed'), UNITS[unit][1]: meta[unit]}
    weights, kind = chosen_weights(checkpoint, stage.ema, key)
    if not weights:
        raise CheckpointError(f"{key}: '{path}' holds no weights; expected a dict with 'state_dict'")
    file = work_dir / f'{stage.name}.pth'
    AtomicBackend().put(packed(weights, meta, checkpoint.get(FISHER)), file)
    entry.update(reached, checkpoint=path, weights=kind, file=file.name, sha256=file_hash(file))
    if config is not None:
        entry['metrics'] = metrics_at(read_run(work_dir / stage.name), meta[unit])
        # With EMAHook, the validation measures the averaged weights, whichever weights the rule selects.
        entry['metrics_of'] = 'averaged' if 'ema_state_dict' in checkpoint else 'raw'
    entry.update(pick=None if config is None else stage.pick, ema=stage.ema, status='finished')
