"""Hypothesis strategies that change one node of a config: type, path, number, name, missing key, extra key."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from hypothesis import strategies as st

from kd_plugins.registry import HOOKS, MODELS, TASK_UTILS

for _registry in (HOOKS, MODELS, TASK_UTILS):
    _registry.import_from_location()

Path = tuple[Any, ...]


class _Missing:
    """Mark of a key that is not there."""

    def __repr__(self) -> str:
        return 'MISSING'


MISSING = _Missing()


def a_function() -> None:
    """A value that no config can hold."""


NAN, INF = float('nan'), float('inf')
NEVER_NUMBERS = (True, NAN, INF, -INF, '3', '0.5', 'auto')
"""Values that are valid for no number."""
NUMBERS = (-1, 0, 1, 2, 0.5, 2.5, -0.5, 1e-9, 10**9, 10**30, 1e30)
NEVER: tuple[Any, ...] = (b'neck', {'neck'}, a_function, 1j, object)
"""Values that are valid for nothing."""
CONTAINERS: tuple[Any, ...] = ([], [1, 'a'], (1, 2), {'a': 1}, [[]], {1: 2}, [None], ({},))
STRINGS = (
    '',
    ' ',
    '.',
    '..',
    '*',
    'neck.',
    '.neck',
    'bbox_head.*.nothing',
    'neck..fpn_convs',
    'a b',
    '[',
    '(',
    '\\',
    'é',
    'x' * 100,
)
TYPES = (
    'FeatureDistiler',
    'kd_plugins.',
    'kd_plugins.FeatureDistiler',
    'kd_plugins.EMATeacher',
    'kd_plugins.LinearWarmup',
    'kd_plugins.FeatureDistiller',
    'kd_plugins.DistillHook',
    'kd_plugins.nothing.at.all',
    'kd_plugins.PointwiseAdapter',
    'mmdet.ResNet',
    'ResNet',
    'nowhere.X',
    'torch.nn.Linear',
    'os.system',
    '',
    '.',
    'a..b',
    'SGD',
    'LoggerHook',
)
"""Names that are misspelt or of another registry; some are right in some places."""
NAMES: tuple[Any, ...] = (
    'a.b',
    '',
    'keys',
    'x y',
    1,
    None,
    'training',
    'loss',
    'teacher',
    'student',
    'auto',
    ('a',),
    'ü',
)
CONFIG_NAMES = (
    'mmdet::gfl/gfl_r50_fpn_1x_coc.py',
    'mmdet::',
    '::',
    'nopackage::x.py',
    '/',
    '/nowhere/x.py',
    'x.txt',
    __file__,
)


@dataclass(frozen=True)
class Mutation:
    """A change of one node.

    Attributes:
        path: Keys from the entry to the node.
        kind: What was changed.
        new: The new value, or the new key.
        invalid: Whether the result is valid under no reading.
        wanted: The right name, which the sentence has to suggest.
    """

    path: Path
    kind: str
    new: Any
    invalid: bool
    wanted: str | None = None

    def __str__(self) -> str:
        return f'{self.kind} at {".".join(map(str, self.path))}: {self.new!r}'


def nodes(entry: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield path and value of every node below the entry."""
    items: Any = entry.items() if isinstance(entry, dict) else enumerate(entry) if isinstance(entry, list) else ()
    for key, value in items:
        yield (*path, key), value
        yield from nodes(value, (*path, key))


def get(entry: Any, path: Path) -> Any:
    """Return the node at a path."""
    for key in path:
        entry = entry[key]
    return entry


def put(entry: Any, path: Path, value: Any) -> None:
    """Set, or with MISSING remove, the node at a path."""
    parent = get(entry, path[:-1])
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value


def holds(entry: Any, mutation: Mutation) -> bool:
    """Return whether a change is still there, after later ones."""
    try:
        parent = get(entry, mutation.path[:-1])
        if mutation.kind in ('key', 'extra', 'name'):
            return mutation.path[-1] in parent
        return mutation.new is MISSING or parent[mutation.path[-1]] is mutation.new
    except (KeyError, IndexError, TypeError):
        return False


@st.composite
def misspelt(draw: st.DrawFn, word: str) -> str:
    """Return a word with one letter dropped, doubled, replaced or exchanged for its neighbour."""
    at = draw(st.integers(0, max(len(word) - 1, 0)))
    how = draw(st.sampled_from(['drop', 'double', 'replace', 'swap']))
    if not word:
        return 'x'
    if how == 'drop':
        return word[:at] + word[at + 1 :]
    if how == 'double':
        return word[:at] + word[at] + word[at:]
    if how == 'replace':
        return word[:at] + ('q' if word[at] != 'q' else 'z') + word[at + 1 :]
    return word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]


def class_of(config: Any) -> Any:
    """Return the class that a dict with ``type`` names, ``None`` where it names none."""
    name = config.get('type') if isinstance(config, dict) else None
    package, _, name = name.partition('.') if isinstance(name, str) else ('', '', '')
    if package != 'kd_plugins':
        return None
    registered = [registry.module_dict for registry in (MODELS, TASK_UTILS, HOOKS)]
    return next((classes[name] for classes in registered if name in classes), None)


def arguments_of(cls: Any) -> dict[str, Parameter]:
    """Return the arguments that a config may give to a class, by name."""
    named = signature(cls).parameters.values()
    variadic = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    return {one.name: one for one in named if one.kind not in variadic and one.name != 'key'}


@st.composite
def wrong_values(draw: st.DrawFn, old: Any) -> tuple[Any, bool]:
    """Return a value in place of an old one, and whether it is valid under no reading."""
    group = draw(st.sampled_from(['never', 'number', 'text', 'container', 'none']))
    if group == 'never':
        return draw(st.sampled_from(NEVER)), True
    if group == 'none':
        return None, False
    if group == 'container':
        new = copy.deepcopy(draw(st.sampled_from(CONTAINERS)))
        return new, bool(new) and isinstance(old, (str, int, float))
    is_number = isinstance(old, (int, float)) and not isinstance(old, bool)
    if group == 'number':
        if is_number and draw(st.booleans()):
            return draw(st.sampled_from(NEVER_NUMBERS)), True
        # A factor may be given in place of a schedule, and nothing else.
        return draw(st.sampled_from(NUMBERS)), isinstance(old, (str, bool))
    if isinstance(old, str):
        return draw(
            st.sampled_from([*STRINGS, *CONFIG_NAMES, old + ' ', old + '.', '.' + old, old.upper() + 'X'])
        ), False
    return draw(st.sampled_from(STRINGS)), isinstance(old, (int, float, bool, dict))


@st.composite
def mutations(draw: st.DrawFn, entry: dict[str, Any], owned: Callable[[Path], bool] = lambda path: True) -> Mutation:
    """Change one node of an entry in place and return the change.

    Args:
        entry: The config of a part.
        owned: Whether this package is responsible for the node at a path.
    """
    every = [(path, value) for path, value in nodes(entry) if owned(path)]
    dicts = [((), entry), *((path, value) for path, value in every if isinstance(value, dict))]
    typed = [(path, value) for path, value in dicts if class_of(value) is not None and owned((*path, 'type'))]
    texts = [(path, value) for path, value in every if isinstance(value, str) and path[-1] != 'type']
    kinds = ['value'] * 4 + [
        'missing',
        'extra',
        'type',
        'argument',
        'argument',
        'argument',
        'key',
        'path',
        'path',
        'name',
    ]
    kind = draw(st.sampled_from(kinds))
    if kind == 'path' and not texts:
        kind = 'value'
    if kind in ('argument', 'type', 'key') and not typed:
        kind = 'value'
    if kind == 'value':
        path, old = draw(st.sampled_from(every))
        new, invalid = draw(wrong_values(old))
        put(entry, path, new)
        return Mutation(path, kind, new, invalid)
    if kind == 'missing':
        path, _ = draw(st.sampled_from(every))
        put(entry, path, MISSING)
        # Without a type, the optimizer's settings change those of the student's.
        return Mutation(path, kind, MISSING, path[-1] == 'type' and path[0] != 'optimizer')
    if kind == 'extra':
        path, _ = draw(st.sampled_from(dicts))
        key = draw(st.sampled_from(['extra', 'wieght', 'typo', 1, '', '_scope_', 'key']))
        put(entry, (*path, key), 'mmdet' if key == '_scope_' else draw(st.sampled_from([None, 0, 'neck', {}])))
        return Mutation((*path, key), kind, key, False)
    if kind == 'key':
        path, config = draw(st.sampled_from(typed))
        right = draw(st.sampled_from(sorted(arguments_of(class_of(config)))))
        wrong = draw(misspelt(right))
        value = config.pop(right, 1)
        known = wrong in arguments_of(class_of(config))
        config[wrong] = value
        return Mutation((*path, wrong), kind, wrong, not known, None if known or len(right) < 4 else right)
    if kind == 'type':
        path, _ = draw(st.sampled_from(typed))
        new = draw(
            st.one_of(
                st.sampled_from(TYPES), misspelt(get(entry, path)['type']), st.sampled_from(NEVER[:3] + CONTAINERS)
            )
        )
        put(entry, (*path, 'type'), new)
        return Mutation((*path, 'type'), kind, new, not isinstance(new, str))
    if kind == 'argument':
        path, config = draw(st.sampled_from(typed))
        parameters = arguments_of(class_of(config))
        names = [name for name in sorted(parameters) if owned((*path, name))]
        name = draw(st.sampled_from(names or sorted(parameters)))
        default = config.get(name, parameters[name].default)
        new, invalid = draw(wrong_values(default))
        config[name] = new
        return Mutation((*path, name), kind, new, invalid)
    if kind == 'name':
        named = [path for path, _ in every if path[:-1] in (('distillers',), ('teachers',))]
        if named:
            path = draw(st.sampled_from(named))
            new = draw(st.sampled_from(NAMES))
            parent = get(entry, path[:-1])
            parent[new] = parent.pop(path[-1])
            return Mutation((*path[:-1], new), kind, new, False)
        kind, texts = 'path', texts or [(path, value) for path, value in every if isinstance(value, str)]
    path, old = draw(st.sampled_from(texts))
    new = draw(misspelt(old))
    put(entry, path, new)
    return Mutation(path, 'path', new, False, old if new != old else None)


__all__ = ['MISSING', 'Mutation', 'misspelt', 'mutations', 'nodes', 'put']
