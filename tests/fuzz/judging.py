"""Judge the outcome of a fuzz case: a valid config, or one sentence that names the key and what was found."""

from __future__ import annotations

import os
import re
import traceback
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings

from kd_plugins.errors import KDPluginsError, TapError
from kd_plugins.utils.cli import sentence_of

from .mutations import MISSING, Mutation

CASES = int(os.environ.get('FUZZ_CASES', '0'))
"""Number of cases of a run by hand; 0 is the gate."""
GATE = 500
REPORT = Path(os.environ.get('FUZZ_REPORT', os.devnull))
"""File that holds the counts of a run by hand so far."""
LONGEST = 600
"""Characters of a sentence that a terminal shows at one glance."""


def cases(share: int) -> Any:
    """Return Hypothesis' settings for a test with ``share`` of the gate's cases.

    In the gate the cases are the same in every run. A run by hand draws others, goes on after a failure and counts.
    """
    return settings(
        max_examples=share if not CASES else CASES * share // GATE,
        derandomize=not CASES,
        database=None,
        deadline=None,
        print_blob=False,
        phases=[Phase.generate] if CASES else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


class Tally:
    """Count of cases, and of failures by kind with an example of each."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def lines(self) -> list[str]:
        """Return the report."""
        rows = [f'{name}: {count} cases, {self.refused[name]} refused' for name, count in self.cases.items()]
        rows.append(f'fuzz: {self.cases.total()} cases, {self.failures.total()} failures of {len(self.failures)} kinds')
        return rows + [f'{count} x {kind}\n    {self.examples[kind]}' for kind, count in self.failures.most_common()]


TALLY = Tally()


def place_of(error: BaseException) -> str:
    """Return the last line of this package on the way to an error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if '/kd_plugins/' in frame.filename]
    return f'{frames[-1].filename.rpartition("/kd_plugins/")[2]}:{frames[-1].lineno}' if frames else 'outside'


def names_of(mutation: Mutation) -> list[str]:
    """Return the texts of which one has to be in the sentence: the key, or its parent or grandparent with the name."""
    *parents, key = [str(part) for part in mutation.path if not isinstance(part, int)] or ['']
    above = ['.'.join(parents[-2:])] if parents else ['distill', 'model']
    return [key, *above] if key else above


def values_of(value: Any) -> list[str]:
    """Return the texts of which one shows a value."""
    texts = [repr(value)[:24], type(value).__name__]
    if isinstance(value, str):
        texts += [value[:24], value.strip(), value.rpartition('.')[2]]
    elif isinstance(value, (list, tuple, set)):
        texts += [repr(entry)[:24] for entry in value] + [str(list(value))[:24]]
    elif isinstance(value, dict):
        texts += [str(key) for key in value]
    elif isinstance(value, (int, float)):
        texts += [f'{value:g}']
    return texts


def any_number(path: str, misspelt: str) -> str:
    """Return a path with ``*`` for each number that is misspelt: nothing tells which layer of the list was meant.

    >>> any_number('blocks.0.conv', 'blocks.q.conv'), any_number('blocks.0.conv', 'blocks.0.cnv')
    ('blocks.*.conv', 'blocks.0.conv')
    """
    parts, found = path.split('.'), misspelt.split('.')
    if len(parts) != len(found):
        return path
    return '.'.join('*' if part.isdigit() and part != other else part for part, other in zip(parts, found, strict=True))


def fault_of(error: BaseException | None, mutations: Sequence[Mutation], ours: bool = True) -> str:
    """Return what is wrong with the outcome of a case, ``''`` where it is as it should be."""
    if error is None:
        wrong = [mutation for mutation in mutations if mutation.invalid]
        return f'accepted {wrong[0].kind} {_kind(wrong[0])}' if wrong else ''
    text = sentence_of(error)
    if text is None:
        return f'{type(error).__name__} at {place_of(error)}: {str(error)[:60]}'
    where = f'at {place_of(error)}'
    if ours and not isinstance(error, KDPluginsError):
        return f'{type(error).__name__} {where} instead of an error of this package'
    if '\n' in str(error) or re.search(r'\w[.!?]\s+[A-Z]\w+ ', text) or re.search(r'\w\.$', text):
        return f'not one sentence {where}'
    if len(text) > LONGEST:
        return f'too long {where}'
    if not any(name in text for mutation in mutations for name in names_of(mutation)):
        return f'key not named {where}'
    if len(mutations) > 1:
        return ''
    mutation = mutations[0]
    if mutation.wanted and mutation.kind == 'key' and f"'{mutation.wanted}'" not in text.partition(';')[2]:
        return f'no suggestion {where}'
    if mutation.wanted and mutation.kind == 'path' and 'names no module' in text:
        nearest = re.findall(r"'([^']+)'", text.partition(';')[2])
        if not any(fnmatch(name, f'{any_number(mutation.wanted, mutation.new)}*') for name in nearest):
            return f'the right path is not suggested {where}'
    # A tap that names many modules is described by the one that did not run.
    hidden = mutation.new is MISSING or mutation.new in (None, [], ()) or isinstance(error, TapError)
    if not hidden and not any(value in text for value in values_of(mutation.new)):
        return f'value not shown {where}'
    return ''


def _kind(mutation: Mutation) -> str:
    return f'{type(mutation.new).__name__} for {mutation.path[-1]}' if mutation.path else ''


def judge(test: str, case: str, error: BaseException | None, mutations: Sequence[Mutation], ours: bool = True) -> None:
    """Count a case, and fail where its outcome is not as it should be.

    Args:
        test: Name of the test.
        case: Description of the case.
        error: The error of the case, or ``None``.
        mutations: The changes of its config.
        ours: Whether the error has to be one of this package; MMEngine builds models, and a command words its errors.
    """
    TALLY.cases[test] += 1
    TALLY.refused[test] += error is not None
    if CASES and TALLY.cases.total() % 500 == 0:
        REPORT.write_text('\n'.join(TALLY.lines()) + '\n', encoding='utf-8')
    fault = fault_of(error, mutations, ours)
    if not fault:
        return
    description = f'{case}: {"; ".join(map(str, mutations))} -> {type(error).__name__}: {str(error)[:400]}'
    TALLY.failures[fault] += 1
    TALLY.examples.setdefault(fault, description)
    if not CASES:
        raise AssertionError(f'{fault}\n{description}') from error
