"""Page of a comparison: all arms in one table, in Markdown that a page of the documentation can include."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..utils.tables import markdown_table
from .formatting import difference, is_number, label, lower_is_better, seed_range, spread, visible
from .report import shown_against, verdict

NOTICE = (
    '<!-- Written by kd_plugins compare --page from the logs of the runs; write it again instead of changing it. -->'
)


def page(values: Mapping[str, Any]) -> str:
    """Return the page of a comparison; equal values give equal text.

    Args:
        values: Content of ``results.json``.
    """
    metrics = [name for name in values['shown'] if name in values['arms'][values['baseline']]]
    parts = [NOTICE, *_sentences(values), markdown_table(*main_table(values))]
    if len(metrics) > 1:
        parts += ['Every metric:', markdown_table(*metrics_table(values, metrics))]
        for reference in [values['baseline'], *shown_against(values)]:
            headers, rows = differences_table(values, metrics, reference)
            if rows:
                parts += [f'Differences to {reference}, with 95 % intervals:', markdown_table(headers, rows)]
    parts += ['\n'.join(f'- {line}' for line in _arms(values)), *_how(values)]
    return '\n\n'.join(parts) + '\n'


def _sentences(values: Mapping[str, Any]) -> list[str]:
    arms = [arm for arm in values['arms'] if arm != values['baseline']]
    lines = [verdict(values, arm) for arm in arms]
    for reference, others in shown_against(values).items():
        lines += [verdict(values, arm, reference) for arm in others]
    return ['\n'.join(f'- {line}.' for line in lines)]


def main_table(values: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of the table of the main metric, one row for each arm.

    Args:
        values: Content of ``results.json``.
    """
    name, base = values['metric'], values['baseline']
    shown = shown_against(values)
    references = list(shown)
    headers = ['arm', label(name), f'difference to {base}, 95 % interval']
    headers += [f'difference to {reference}' for reference in references]
    headers += ['seeds', 'sees', 'step', 'training', 'weights']
    rows = []
    for arm, table in values['arms'].items():
        about, entry = values['about'][arm], table[name]
        change = entry.get('difference')
        contrasts = [shown[reference].get(arm) for reference in references]
        rows.append(
            [
                arm,
                spread(values, name, entry['last']),
                difference(values, name, change) if change else '',
                *[difference(values, name, one[name]) if one else '' for one in contrasts],
                _seeds(values, arm),
                visible(values, name, change) if change else '',
                _step(about),
                f'{about["seconds"] / 60:.1f} min' if is_number(about['seconds']) else '',
                about['weights'],
            ]
        )
    return headers, rows


def metrics_table(values: Mapping[str, Any], metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows with mean and spread of several metrics, one row for each arm."""
    rows = [
        [arm, *[spread(values, name, table[name]['last']) for name in metrics]] for arm, table in values['arms'].items()
    ]
    return ['arm', *map(label, metrics)], rows


def differences_table(
    values: Mapping[str, Any], metrics: Sequence[str], reference: str
) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows with the differences of several metrics to one arm."""
    if reference == values['baseline']:
        changes = {
            arm: {name: table[name]['difference'] for name in metrics}
            for arm, table in values['arms'].items()
            if arm != reference
        }
    else:
        changes = shown_against(values)[reference]
    rows = [[arm, *[difference(values, name, table[name]) for name in metrics]] for arm, table in changes.items()]
    return ['arm', *map(label, metrics)], rows


def _seeds(values: Mapping[str, Any], arm: str) -> str:
    own = values['seeds_of'][arm]
    added = [seed for seed in own if seed in values['added_seeds']]
    return f'{len(own)} ({seed_range(added)} added)' if added else str(len(own))


def _step(about: Mapping[str, Any]) -> str:
    if not is_number(about['step']):
        return ''
    return f'{about["step"]:.2f}' if about['measured'] else f'about {about["step"]:.2f}'


def _arms(values: Mapping[str, Any]) -> Iterator[str]:
    for arm in values['arms']:
        about, path = values['about'][arm], values['configs'][arm]
        text = f'{about["kind"]}, {about["text"]}' if about['text'] else about['kind']
        yield f'{arm} (`{path}`): {text}' + ''.join(f'; {remark}' for remark in about['remarks']) + '.'


def _moved(values: Mapping[str, Any]) -> bool:
    """Return whether the runs of an arm were made in several places, by the records of an experiment."""
    records = values.get('records') or {}
    return any(len({run['place'] for run in records.get(arm, {}).values()}) > 1 for arm in values['arms'])


def _how(values: Mapping[str, Any]) -> Iterator[str]:
    name = values['metric']
    lines = [
        f'Values of the {values["source"]}, mean ± sample standard deviation over the seeds.',
        'Metrics between 0 and 1 are shown as points.' if values['points'] else '',
        'A lower value is better.' if lower_is_better(name) else '',
        'Differences are paired by seed, with a Student t interval, in bold where it excludes 0.',
        'Those to another arm than the baseline are the ones that the protocol asks for.'
        if values.get('contrasts') and shown_against(values)
        else '',
        '"Sees" is the smallest true difference whose interval excludes 0 with a probability of 80 %, by the spread of '
        'the paired differences.',
        '"Step" is the time of a training step as a multiple of the baseline\'s, measured with alternating steps, or '
        'by the logs where it says about.',
        '"Training" is the mean time of all training steps.',
        'Some arms have runs of several machines or folders; their "training" is that of one of them.'
        if _moved(values)
        else '',
    ]
    if values['added_seeds']:
        lines += [
            f'Further seeds ({seed_range(values["added_seeds"])}) were added where the mean was better and the '
            'interval of the first seeds held 0.',
            'Such a second look makes a false positive more likely: with 3 and 2 seeds 4.3 % above 0 and not 2.5 %.',
        ]
    yield '\n'.join(line for line in lines if line)
    if values['notes']:
        yield '\n'.join(f'- {note}.' for note in values['notes'])
    runs = [f'{arm} seed {seed}: {state}' for arm, seeds in values['runs'].items() for seed, state in seeds.items()]
    notable = [run for run in runs if not run.endswith(': finished')]
    yield f'Runs that were resumed or are missing: {"; ".join(notable) or "none"}.'
