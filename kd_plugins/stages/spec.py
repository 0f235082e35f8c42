"""Declaration of a chain of trainings in a config: stages, their order, and the files that they take."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config.data_checks import check_classes, check_data, check_trainable, training_loaders
from ..config.loading import load_config
from ..errors import ConfigError, nearest
from ..runner.processes import config_hash
from ..utils.argument_types import check_types, shown
from ..utils.checks import check_choice
from .checkpoint_selection import check_rule, file_hash

CONFIGS, REPLACED = 'configs', 'replaced'
"""Folders of the work_dir that are not of a stage."""


@dataclass(frozen=True)
class Stage:
    """One entry of ``stages``: a training, or an existing checkpoint.

    Attributes:
        name: Key of the entry.
        config: Path or ``package::path`` of the config that it trains.
        checkpoint: A trained model in place of a training.
        takes: Config key to the earlier stage whose file becomes its value.
        pick: Checkpoint to export: ``'last'``, ``'best'`` or ``'best:METRIC'``.
        ema: Whether to export averaged weights (``True``), raw ones (``False``), or those of the file (``None``).
        cfg_options: Changes to ``config``, as ``--cfg-options`` makes them.
    """

    name: str
    config: str | None = None
    checkpoint: str | None = None
    takes: dict[str, str] = field(default_factory=dict)
    pick: str = 'last'
    ema: bool | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A stage with its settings.

    Attributes:
        stage: The stage.
        config: Its resolved config; ``'{NAME}'`` stands for the file of the stage NAME.
        options: Changes of ``--cfg-options``.
        hash: Hash of the config's text, or of the existing checkpoint.
    """

    stage: Stage
    config: Config | None
    options: dict[str, Any]
    hash: str


def read_stages(config: Config, path: str) -> list[Stage]:
    """Return the stages of a config, each one after the stages that it takes files from.

    An entry that a child config sets to ``None`` is left out. The path of a config is relative to the folder of the
    stages file, that of a checkpoint to the current folder.

    Args:
        config: The stages file, read.
        path: Its path, for error sentences.

    Raises:
        ConfigError: If an entry is not a valid stage.
    """
    entries = config.get('stages')
    if entries is not None and not isinstance(entries, Mapping):
        raise ConfigError(f"config: '{path}' has stages = {shown(entries)}; valid: a dict of name to stage")
    if not entries:
        folder = Path(config.filename or path).parent
        others = [
            str(file)
            for file in sorted(folder.glob('*.py'))
            if re.search(r'(?m)^stages\b', file.read_text(encoding='utf-8', errors='replace'))
        ]
        raise ConfigError(
            f"config: '{path}' has no 'stages', a dict of stages; kd_plugins train trains a single config; "
            f'{nearest(path, others)}'
        )
    stages = [
        _read_stage(str(name), entry, Path(config.filename or path).parent)
        for name, entry in entries.items()
        if entry is not None
    ]
    return ordered(stages)


def _read_stage(name: str, entry: Any, folder: Path) -> Stage:
    key = f'stages.{name}'
    if not re.fullmatch(r'\w[\w-]*', name) or name in (CONFIGS, REPLACED):
        raise ConfigError(f'{key}: the name becomes that of a folder; valid: letters, digits, _ and -, not {name!r}')
    if not isinstance(entry, Mapping):
        raise ConfigError(f'{key} is {entry!r}; valid: dict(config=...), dict(checkpoint=...), None')
    given = {name: value for name, value in entry.items() if value is not None}
    fields = list(Stage.__dataclass_fields__)[1:]
    unknown = next((name for name in given if name not in fields), None)
    if unknown is not None:
        raise ConfigError(f"{key} has no argument '{unknown}'; {nearest(unknown, fields, 6)}")
    check_types(Stage, {'name': name, **given}, key)
    if ('config' in given) == ('checkpoint' in given):
        raise ConfigError(f"{key} needs either 'config', to be trained, or 'checkpoint', a trained model")
    surplus = [name for name in given if name in ('takes', 'pick', 'cfg_options')]
    if 'checkpoint' in given and surplus:
        raise ConfigError(f"{key}.{surplus[0]} belongs to a training, and '{given['checkpoint']}' is not trained")
    if 'config' in given and '::' not in given['config']:
        given['config'] = os.path.normpath(folder / given['config'])
        if not Path(given['config']).is_file():
            there = [str(file) for file in sorted(Path(given['config']).parent.glob('*.py'))]
            raise ConfigError(
                f"{key}.config: '{given['config']}' does not exist; {nearest(given['config'], there)}; a path is "
                "relative to the stages file, and '{{fileDirname}}/x.py' to the file that holds it"
            )
    takes = {str(target): source for target, source in given.pop('takes', {}).items() if source is not None}
    options = {str(target): value for target, value in given.pop('cfg_options', {}).items()}
    return Stage(name, takes=takes, cfg_options=options, **given)


def ordered(stages: Sequence[Stage]) -> list[Stage]:
    """Return the stages in their given order, but each one after the stages that it takes files from.

    Raises:
        ConfigError: If a stage takes from a stage that does not exist, or stages take from each other in a circle.

    >>> [stage.name for stage in ordered([Stage('b', takes={'load_from': 'a'}), Stage('a')])]
    ['a', 'b']
    """
    names = [stage.name for stage in stages]
    for stage in stages:
        for target, source in stage.takes.items():
            check_choice(
                f"stages.{stage.name}.takes['{target}']", source, [name for name in names if name != stage.name]
            )
    waiting, done = list(stages), list[Stage]()
    while waiting:
        ready = {stage.name for stage in done}
        following = next((stage for stage in waiting if set(stage.takes.values()) <= ready), None)
        if following is None:
            circle = [waiting[0].name]
            by_name = {stage.name: stage for stage in waiting}
            while circle.count(circle[-1]) < 2:
                circle.append(next(name for name in by_name[circle[-1]].takes.values() if name in by_name))
            shown = ' takes from '.join(circle[circle.index(circle[-1]) :])
            raise ConfigError(f'stages: {shown}, so none of them can start; remove one of these entries')
        waiting.remove(following)
        done.append(following)
    return done


def dependents(stages: Sequence[Stage], names: Iterable[str]) -> list[str]:
    """Return the stages of ``names`` and all stages that take files from them, directly or indirectly.

    >>> dependents([Stage('a'), Stage('b', takes={'load_from': 'a'}), Stage('c')], ['a'])
    ['a', 'b']
    """
    affected = set(names)
    for stage in stages:
        if affected & set(stage.takes.values()):
            affected.add(stage.name)
    return [stage.name for stage in stages if stage.name in affected]


def split_options(options: Iterable[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Return stage to ``KEY=VALUE`` strings: first those for all stages, then its own (``STAGE:KEY=VALUE``).

    Raises:
        ConfigError: If an option names a stage that does not exist.

    >>> split_options(['a=1', 'second:a=2'], ['first', 'second'])
    {'first': ['a=1'], 'second': ['a=1', 'a=2']}
    """
    shared: list[str] = []
    own: dict[str, list[str]] = {name: [] for name in names}
    for option in options:
        prefix, colon, rest = option.partition(':')
        if colon and '=' not in prefix:
            check_choice(f'--cfg-options {option}: the stage', prefix, names)
            own[prefix].append(rest)
        else:
            shared.append(option)
    return {name: [*shared, *own[name]] for name in names}


def place(config: Config, key: str, value: str, stage: Stage) -> None:
    """Set a config key whose parent exists.

    Raises:
        ConfigError: If the config has no such parent.
    """
    node: Any = config
    *parents, last = key.split('.')
    for depth, part in enumerate(parents):
        if isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            child = node[int(part)]
        else:
            child = node.get(part) if isinstance(node, (dict, Config)) else None
        if not isinstance(child, (dict, list, tuple)):
            above = '.'.join(parents[:depth]) or f"'{stage.config}'"
            known = nearest(part, node) if isinstance(node, (dict, Config)) else 'valid: a position in the list'
            raise ConfigError(
                f"stages.{stage.name}.takes: '{key}' cannot be set, {above} has no dict '{part}'; {known}"
            )
        node = child
    if not parents and last not in ('load_from', *config):
        known = nearest(last, ['load_from', *config])
        raise ConfigError(f"stages.{stage.name}.takes: '{stage.config}' has no '{last}'; {known}")
    config.merge_from_dict({key: value})


def make_plan(stage: Stage, options: Mapping[str, Any]) -> Plan:
    """Read a stage's config, and refuse mistakes that would otherwise show after the earlier stages are trained.

    Raises:
        KDPluginsError: If the stage cannot run.
    """
    if stage.config is None:
        checkpoint = str(stage.checkpoint)
        if '://' in checkpoint:
            return Plan(stage, None, {}, hashlib.sha256(checkpoint.encode()).hexdigest())
        if not Path(checkpoint).is_file():
            there = [str(file) for file in Path(checkpoint).parent.glob('*.pth')]
            raise ConfigError(
                f"stages.{stage.name}.checkpoint: '{checkpoint}' does not exist; {nearest(checkpoint, there)}"
            )
        return Plan(stage, None, {}, file_hash(Path(checkpoint)))
    config = stage_config(stage, options)
    check_data(config, training_loaders(config))
    return Plan(stage, config, dict(options), config_hash(config))


def stage_config(stage: Stage, options: Mapping[str, Any]) -> Config:
    """Return the config that a stage trains, with ``'{NAME}'`` for the file of the stage NAME.

    Raises:
        KDPluginsError: If the config cannot be trained with any data.
    """
    config = load_config(str(stage.config), {**stage.cfg_options, **options})
    check_trainable(config, str(stage.config))
    check_classes(config)
    check_rule(config, stage.pick, stage.ema, f'stages.{stage.name}')
    for key, source in stage.takes.items():
        place(config, key, f'{{{source}}}', stage)
    try:
        settings = config.to_dict()
        # Not laid out, which takes seconds where the config is long.
        text = Config(settings, format_python_code=False).pretty_text
        same = Config.fromstring(text, '.py').to_dict() == settings
    except (SyntaxError, NameError, KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise ConfigError(
            f"stages.{stage.name}.config: '{stage.config}' holds a value that MMEngine cannot write to a file and read "
            'back (float("inf") is one); replace it by a plain value'
        )
    return config
