"""Table of all methods, "what helps where": gain against the fair baseline, cost and verdict of every measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import ConfigError
from ..utils.checks import check_choice
from ..utils.tables import markdown_table
from .folder import with_points
from .formatting import NO_NUMBER, difference, excludes_zero, is_number, label, lower_is_better, spread, visible
from .protocol import Protocol, is_pair, read_protocol
from .records import read_values
from .statistics import paired_difference, summarize

FILE = 'overview.py'
"""File in the folder of all results that lists the methods."""
BEGIN = '<!-- overview:begin, written by kd_plugins experiments --overview; write it again instead of changing it -->'
END = '<!-- overview:end -->'
GROUPS = {'detectors': 'Detectors', 'segmenters': 'Segmenters', 'pose_estimators': 'Pose estimators'}
METHOD_KEYS = ('docs', 'measured')
KEYS = ('result', 'on', 'pair', 'against', 'page', 'step')
HEADERS = (
    'method',
    'student, data',
    'metric',
    'fair baseline',
    'with it',
    'gain, 95 % interval',
    'seeds',
    'step',
    'verdict',
)


@dataclass(frozen=True)
class Measurement:
    """Arms, network and data set that show, or will show, what a method gains.

    Attributes:
        result: Folder below the folder of all results.
        on: Student and data.
        pair: The method's arm and its fair baseline.
        against: Name of the baseline in the table, its arm's by default.
        page: Its page, beside the page of the table.
        step: Step time relative to the baseline, where ``results.json`` lacks it.
    """

    result: str
    on: str
    pair: tuple[str, str]
    against: str
    page: str
    step: float | None = None


@dataclass(frozen=True)
class Method:
    """A method of the project.

    Attributes:
        name: Its name in the table.
        group: One of ``GROUPS``.
        docs: Its page, below the folder of the documentation.
        measured: Its measurements.
    """

    name: str
    group: str
    docs: str
    measured: tuple[Measurement, ...]


def read_methods(root: Path) -> list[Method]:
    """Return the methods that ``overview.py`` lists.

    Args:
        root: Folder of all results.

    Raises:
        ConfigError: If the file cannot be read, a key is unknown or missing, or a folder with results is in no entry.
    """
    path = root / FILE
    try:
        groups = Config.fromfile(str(path), use_environment_variables=False).to_dict()
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"--overview: '{path}' cannot be read: {error}") from error
    methods = []
    for group, entries in groups.items():
        check_choice(f"'{path}'", group, list(GROUPS))
        for name, entry in entries.items():
            _check_keys(f"'{path}': {group}.{name}", entry, METHOD_KEYS, ('docs',))
            where = f"'{path}': {group}.{name}.measured"
            measured = tuple(_measurement(root, where, one) for one in entry.get('measured', ()))
            methods.append(Method(name, group, entry['docs'], measured))
    listed = {root / one.result for method in methods for one in method.measured}
    for file in sorted(root.rglob('results.json')):
        if file.parent not in listed:
            raise ConfigError(
                f"--overview: '{path}' has no entry for '{file.parent.relative_to(root).as_posix()}'; add it to the "
                "'measured' of its method"
            )
    return methods


def _check_keys(where: str, entry: Mapping[str, Any], known: Sequence[str], required: Sequence[str]) -> None:
    """Refuse an entry with a key that is not known, or without one that is required."""
    for key in entry:
        check_choice(where, key, known)
    missing = [key for key in required if key not in entry]
    if missing:
        raise ConfigError(f'{where} has {", ".join(entry) or "nothing"} and no {missing[0]}; add it')


def _measurement(root: Path, where: str, entry: Mapping[str, Any]) -> Measurement:
    _check_keys(where, entry, KEYS, ('result', 'on'))
    folder = root / entry['result']
    pair = entry.get('pair')
    if pair is not None and not is_pair(pair):
        raise ConfigError(f"{where}: pair is {pair!r}; give two arms, the method's and its baseline")
    if pair is None:
        if not (folder / 'protocol.py').is_file():
            raise ConfigError(f"{where}: '{entry['result']}' has no protocol, whose first contrast decides; give pair")
        pair = read_protocol(folder / 'protocol.py').contrasts[0]
    return Measurement(
        entry['result'],
        entry['on'],
        (pair[0], pair[1]),
        entry.get('against', pair[1]),
        entry.get('page', f'{entry["result"]}.md'),
        entry.get('step'),
    )


def contrast(values: Mapping[str, Any], pair: tuple[str, str]) -> dict[str, Any] | None:
    """Return the paired difference of two arms in the main metric, ``None`` where there is no such arm or shared seed.

    The numbers are NaN where the metric of a run is no number, which JSON holds as null: such a run is not left out.

    Args:
        values: Content of ``results.json``, also of the time before arms had seeds of their own.
        pair: The method's arm and its baseline.

    Returns:
        The difference, with ``seeds``, and ``arms``: the numbers of the baseline and of the method over these seeds.
    """
    known = ((values.get('against') or {}).get(pair[1]) or {}).get(pair[0], {}).get(values['metric'], {})
    if 'arms' in known:
        return dict(known)
    columns = []
    for arm in (pair[1], pair[0]):
        table = values['arms'].get(arm)
        if table is None:
            return None
        seeds = (values.get('seeds_of') or {}).get(arm, values['seeds'])
        columns.append(dict(zip(seeds, table[values['metric']]['last']['values'])))
    both = sorted(set(columns[0]) & set(columns[1]))
    if not both:
        return None
    numbers = [[column[seed] for seed in both] for column in columns]
    arms = [vars(summarize(own)) for own in numbers]
    return {**vars(paired_difference(numbers[0], numbers[1])), 'seeds': both, 'arms': arms}


def verdict(values: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    """Return what a difference in the main metric says.

    Args:
        values: Content of ``results.json``, with ``points``.
        change: Of :func:`contrast`.

    >>> change = {'mean': 0.2, 'low': 0.1, 'high': 0.3, 'deviation': 0.05, 'count': 3}
    >>> verdict({'metric': 'AP'}, change), verdict({'metric': 'NME'}, change)
    ('**helps**', '**loses**')
    """
    metric = values['metric']
    if not is_number(change['mean']):
        return NO_NUMBER
    if not is_number(change['low']):
        return 'one seed'
    if not excludes_zero(change):
        sees = visible(values, metric, change)
        return f'nothing seen (sees {sees})' if sees else 'nothing seen, equal at all seeds'
    gain = -change['mean'] if lower_is_better(metric) else change['mean']
    return '**helps**' if gain > 0 else '**loses**'


def step_of(values: Mapping[str, Any], one: Measurement) -> str:
    """Return the step time of a method as a multiple of that of its fair baseline, empty where it is unknown."""
    if one.step is not None:
        return f'{one.step:.2f}'
    about = values.get('about') or {}
    method, base = (about.get(arm) or {} for arm in one.pair)
    own, other = method.get('step'), base.get('step')
    if own is None or not other:
        return ''
    measured = all(side.get('measured') for side in (method, base))
    return f'{"" if measured else "about "}{own / other:.2f}'


def rows(root: Path, methods: Sequence[Method]) -> Iterator[list[str]]:
    """Yield the rows of the table of some methods.

    Args:
        root: Folder of all results.
        methods: The methods.

    Raises:
        ConfigError: If a pair names an arm that its protocol does not have.
    """
    for method in methods:
        name = f'[{method.name}](../{method.docs})'
        for one in method.measured:
            values = read_values(root / one.result)
            change = contrast(values, one.pair) if values else None
            if change is None:
                reason = _missing(root, one)
                yield [name, one.on, '', one.against, '', '', '', '', reason]
            else:
                values = with_points(dict(values))
                metric = values['metric']
                base, own = (spread(values, metric, arm) for arm in change['arms'])
                cells = [f'{one.against}: {base}', own, difference(values, metric, change), str(change['count'])]
                on = f'[{one.on}]({one.page})'
                yield [name, on, label(metric), *cells, step_of(values, one), verdict(values, change)]
            name = ''
        if not method.measured:
            yield [name, *[''] * (len(HEADERS) - 2), 'not measured']


def _missing(root: Path, one: Measurement) -> str:
    """Return why a measurement has no numbers."""
    path = root / one.result / 'protocol.py'
    if not path.is_file():
        raise ConfigError(
            f"--overview: '{root / one.result}' has neither the arms {' and '.join(one.pair)} nor a protocol"
        )
    protocol: Protocol = read_protocol(path)
    for arm in one.pair:
        check_choice(f"--overview: '{path}'", arm, [training.name for training in protocol.arms])
    return f'not measured, [{"stopped" if protocol.stopped else "planned"}](../../results/{one.result}/protocol.py)'


def overview(root: Path) -> str:
    """Return the tables of all groups.

    Args:
        root: Folder of all results.

    Raises:
        ConfigError: See :func:`read_methods`.
    """
    methods = read_methods(root)
    parts = []
    for group, title in GROUPS.items():
        own = [method for method in methods if method.group == group]
        parts += [f'## {title}', markdown_table(HEADERS, list(rows(root, own)))]
    return '\n\n'.join(parts)


def updated(page: str, root: Path) -> str:
    """Return a page with its tables renewed.

    Args:
        page: Markdown with the marks ``BEGIN`` and ``END``, one line each.
        root: Folder of all results.

    Raises:
        ConfigError: If the page lacks a mark, or as :func:`read_methods`.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(
            f"--overview: the page lacks the line '{END if begin else BEGIN}'; add it where the table belongs"
        )
    return f'{before}{BEGIN}\n\n{overview(root)}\n\n{END}{after}'
