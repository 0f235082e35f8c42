"""Protocol of an experiment: arms, budget, metrics and refutation, written down before anything runs."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError, nearest
from ..utils.argument_types import shown
from ..utils.build import first_line
from ..utils.checks import check_choice, check_flag, check_integer

KEYS = (
    'question',
    'arms',
    'teachers',
    'seeds',
    'more_seeds',
    'metrics',
    'contrasts',
    'test_last',
    'layers',
    'calibration',
    'refuted_if',
    'stop_if',
    'stop_after',
    'stopped',
)
REQUIRED = ('question', 'arms', 'metrics', 'contrasts', 'refuted_if')
LISTS = {
    'metrics': "('coco/bbox_mAP',)",
    'contrasts': "(('taught', 'plain'),)",
    'seeds': '(0, 1, 2)',
    'more_seeds': '(3, 4)',
}
"""Keys whose values are lists, with an example of each."""
RUN_KEYS = ('config', 'options', 'note')
EXPECTED = f'expected a protocol, a file with {", ".join(REQUIRED[:-1])} and {REQUIRED[-1]}'
OF_TRAININGS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'stages')
"""Keys by which the config of a training, or a chain of them, is recognised."""


@dataclass(frozen=True)
class Training:
    """One config of an experiment, trained with each seed, or once for all as a teacher.

    Attributes:
        name: Its name in the protocol.
        config: Path of the config, or ``package::path``.
        options: ``--cfg-options`` of its trainings and tests. ``{seed}`` in a value stands for the seed, ``{NAME}`` for
            the newest checkpoint of that teacher, or of that arm with the same seed.
        note: What it is, in the report.
        teacher: Whether it is trained once, with seed 0.
    """

    name: str
    config: str
    options: Mapping[str, str] = field(default_factory=dict)
    note: str = ''
    teacher: bool = False

    @property
    def needs(self) -> list[str]:
        """Names of the trainings whose checkpoints the options mention."""
        names = {name for value in self.options.values() for name in placeholders(str(value))}
        return sorted(names - {'seed'})

    def option_words(self, values: Mapping[str, str]) -> list[str]:
        """Return the options as ``KEY=VALUE`` words, with the placeholders replaced.

        Args:
            values: Placeholder to text; a placeholder that is missing stays as it is.
        """
        return [f'{key}={replace(str(value), values)}' for key, value in self.options.items()]


@dataclass(frozen=True)
class Protocol:
    """An experiment.

    Attributes:
        name: Name of its folder.
        path: The file.
        question: What is asked.
        arms: Baseline first.
        teachers: Trained before the arms that mention them.
        seeds: Values of ``randomness.seed``.
        more_seeds: Added for both arms of a contrast whose interval holds 0 after ``seeds``, with a mean above 0.
        metrics: The first one decides.
        contrasts: Pairs of arms, the better one by hypothesis first.
        test_last: Whether the last checkpoint is measured on the config's test data; the last validation counts
            otherwise.
        refuted_if: Outcome that refutes the hypothesis.
        stop_if: Outcome that ends the experiment early.
        stop_after: Number of seeds after which an arm whose mean is behind the baseline's gets no further ones; 0 for
            never.
        stopped: Why it was ended early; its missing runs are not made.
        layers: Whether the AP of every decoder layer is measured as well; all arms are DETRs then.
        calibration: Whether the tests measure the calibration as well, as ``calibration/error``.
    """

    name: str
    path: str
    question: str
    arms: tuple[Training, ...]
    teachers: tuple[Training, ...]
    seeds: tuple[int, ...]
    more_seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...]
    test_last: bool
    refuted_if: str
    stop_if: str = ''
    stop_after: int = 0
    stopped: str = ''
    layers: bool = False
    calibration: bool = False

    @property
    def judged_seeds(self) -> tuple[int, ...]:
        """The seeds after which the stop rule judges an arm; empty without one."""
        return self.seeds[: self.stop_after]

    def needed_by(self, arms: Sequence[str] = ()) -> list[str]:
        """Return the names of some arms and of all trainings whose checkpoints they need, directly or not.

        Args:
            arms: Names of arms; none means all arms and teachers.

        Raises:
            ConfigError: If there is no such arm.
        """
        trainings = {training.name: training for training in (*self.teachers, *self.arms)}
        waiting = [check_choice('--arms', name, list(trainings)) for name in arms] or list(trainings)
        names: list[str] = []
        while waiting:
            name = waiting.pop()
            if name not in names:
                names.append(name)
                waiting += trainings[name].needs
        return names


def placeholders(text: str) -> list[str]:
    """Return the names in braces in a text.

    >>> placeholders('fold_{seed} of {teacher}')
    ['seed', 'teacher']
    """
    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


def replace(text: str, values: Mapping[str, str]) -> str:
    """Replace ``{NAME}`` by its value where there is one.

    >>> replace('fold_{seed} of {teacher}', {'seed': '3'})
    'fold_3 of {teacher}'
    """
    for name, value in values.items():
        text = text.replace(f'{{{name}}}', value)
    return text


def is_list(value: Any) -> bool:
    """Return whether a value is a list or tuple; a text has a length and items as well.

    >>> is_list(('AP',)), is_list('AP')
    (True, False)
    """
    return isinstance(value, (list, tuple))


def is_pair(value: Any) -> bool:
    """Return whether a value is a list or tuple of two.

    >>> is_pair(('taught', 'plain')), is_pair('ab')
    (True, False)
    """
    return is_list(value) and len(value) == 2


def read_protocol(path: str | Path) -> Protocol:
    """Read a protocol file, ``results/NAME/protocol.py``.

    Args:
        path: The file, in the format of MMEngine's configs.

    Raises:
        ConfigError: If the file is no protocol, a key is unknown or missing, or an arm mentions a training that does
            not come before it.
    """
    if not Path(path).is_file():
        is_folder = Path(path).is_dir()
        there = Path(path).glob('protocol.py') if is_folder else Path(path).parent.parent.glob('*/protocol.py')
        what = 'is a folder' if is_folder else 'does not exist'
        raise ConfigError(f"protocol '{path}' {what}; {nearest(path, sorted(there))}")
    try:
        values: dict[str, Any] = Config.fromfile(str(path), use_environment_variables=False).to_dict()
    except Exception as error:  # the file is a program
        raise ConfigError(f"protocol '{path}' cannot be read: {_reason(error)}; {EXPECTED}") from error
    if any(key in values for key in OF_TRAININGS):
        raise ConfigError(f"protocol '{path}' is the config of a training; {EXPECTED}, whose arms name such configs")
    for key in values:
        check_choice(f"protocol '{path}'", key, KEYS)
    for key in REQUIRED:
        if not values.get(key):
            raise ConfigError(f"protocol '{path}' has no {key}, which must be written down before the first run")
    teachers = _trainings(values.get('teachers') or {}, 'teachers', True)
    arms = _trainings(values['arms'], 'arms', False)
    known: list[str] = []
    for training in (*teachers, *arms):
        for name in training.needs:
            if name not in known:
                raise ConfigError(
                    f"protocol '{path}': the options of '{training.name}' mention '{{{name}}}', which is no training "
                    f'before it; {nearest(name, [*known, "seed"])}'
                )
        if training.name in known:
            raise ConfigError(f"protocol '{path}' has two trainings named '{training.name}'; rename one")
        known.append(training.name)
    names = [arm.name for arm in arms]
    for key in LISTS:
        if not is_list(values.get(key, ())):
            raise ConfigError(f"protocol '{path}': {key} is {values[key]!r}; give a list, such as {LISTS[key]}")
    for metric in values['metrics']:
        if not isinstance(metric, str):
            raise ConfigError(f"protocol '{path}': metrics has {metric!r}; give names, such as {LISTS['metrics']}")
    for pair in values['contrasts']:
        if not is_pair(pair) or pair[0] == pair[1]:
            raise ConfigError(f"protocol '{path}': contrasts has {pair!r}; give pairs of arms, the better one first")
    contrasts = tuple((str(better), str(worse)) for better, worse in values['contrasts'])
    for pair in contrasts:
        for name in pair:
            check_choice(f"protocol '{path}': contrasts", name, names)
    test_last = check_flag(f"protocol '{path}': test_last", values.get('test_last', True))
    calibration = check_flag(f"protocol '{path}': calibration", values.get('calibration', False))
    if calibration and not test_last:
        raise ConfigError(f"protocol '{path}': calibration is measured by the tests, and test_last is False; set True")
    seeds, more_seeds = _seeds(path, values, 'seeds', (0, 1, 2)), _seeds(path, values, 'more_seeds', ())
    if len(set(seeds + more_seeds)) < len(seeds + more_seeds):
        raise ConfigError(
            f"protocol '{path}': seeds {seeds} and more_seeds {more_seeds} repeat a seed; pairs need different seeds"
        )
    latest = min(len(seeds), len(seeds + more_seeds) - 1)
    fix = f'give a number of seeds up to {latest}, or leave it out'
    stop_after = check_integer(f"protocol '{path}': stop_after", values.get('stop_after', 0), 0, fix)
    if stop_after > latest:
        raise ConfigError(f"protocol '{path}': stop_after is {stop_after}, and no seed is left to stop; {fix}")
    return Protocol(
        name=Path(path).resolve().parent.name,
        path=str(path),
        question=_text(values['question']),
        arms=arms,
        teachers=teachers,
        seeds=seeds,
        more_seeds=more_seeds,
        metrics=tuple(values['metrics']),
        contrasts=contrasts,
        test_last=test_last,
        refuted_if=_text(values['refuted_if']),
        stop_if=_text(values.get('stop_if', '')),
        stop_after=stop_after,
        stopped=_text(values.get('stopped', '')),
        layers=check_flag(f"protocol '{path}': layers", values.get('layers', False)),
        calibration=calibration,
    )


def _reason(error: BaseException) -> str:
    return first_line(error) if isinstance(error, SyntaxError) else f'{type(error).__name__}: {first_line(error)}'


def _seeds(path: str | Path, values: Mapping[str, Any], key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    given = values.get(key, default)
    return tuple(
        check_integer(f"protocol '{path}': {key}", seed, 0, f'give a list, such as {LISTS[key]}') for seed in given
    )


def _trainings(entries: Mapping[str, Mapping[str, Any]], key: str, teacher: bool) -> tuple[Training, ...]:
    if not isinstance(entries, dict):
        raise ConfigError(f"protocol {key} is {shown(entries)}; give dict(NAME=dict(config='PATH'))")
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ConfigError(f"protocol {key}.{name} is {shown(entry)}; give dict(config='PATH')")
        for word in entry:
            check_choice(f'protocol {key}.{name}', word, RUN_KEYS)
        if 'config' not in entry:
            raise ConfigError(f'protocol {key}.{name} names no config')
        if not isinstance(entry['config'], str):
            raise ConfigError(f'protocol {key}.{name}.config is {shown(entry["config"])}; give the path of a config')
        if not isinstance(entry.get('options', {}), dict):
            given = shown(entry['options'])
            raise ConfigError(f"protocol {key}.{name}.options is {given}; give dict, such as {{'load_from': 'x.pth'}}")
        for option, value in entry.get('options', {}).items():
            _check_braces(f'protocol {key}.{name}.options: {option}', str(value))
    return tuple(
        Training(name, entry['config'], dict(entry.get('options', {})), _text(entry.get('note', '')), teacher)
        for name, entry in entries.items()
    )


def _check_braces(key: str, text: str) -> None:
    try:
        placeholders(text)
    except ValueError as error:
        raise ConfigError(f"{key} is '{text}', which lacks a brace ({error}); give for example '{{NAME}}'") from error


def _text(text: str) -> str:
    return ' '.join(str(text).split())
