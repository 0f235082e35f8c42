"""Rank correlation between DisWOT's score and the measured gains of this project's results.

Prints a row for each pair of student and teacher in ``results/*/results.json``: the score of ``kd_plugins score`` and
the gain of the arms that this teacher taught, in percent of the baseline. Then Spearman's correlation of both.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from kd_plugins.commands.score import parser as score_parser
from kd_plugins.commands.score import scores_of
from kd_plugins.comparison.taught_pairs import rank_correlation, taught_pairs
from kd_plugins.errors import KDPluginsError
from kd_plugins.utils.cli import SEED, one_sentence, parse
from kd_plugins.utils.tables import print_table


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(description="Rank correlation between DisWOT's score and measured gains")
    built.add_argument('--results', type=Path, default=Path('results'), help='folder of NAME/results.json')
    built.add_argument('--seeds', nargs='+', type=SEED, default=[0, 1, 2], help='seeds of the random weights')
    built.add_argument('--generated', action='store_true', help='use generated data even where the data set exists')
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Score all pairs and print; return the exit status."""
    args = parse(parser(), arguments)
    warnings.simplefilter('ignore')
    rows: list[list[str]] = []
    columns: dict[str, list[tuple[float, float]]] = {'relation': [], 'semantic': [], 'score': []}
    with one_sentence():
        for pair in taught_pairs(sorted(args.results.glob('*/results.json'))):
            words = [pair.student, pair.teacher, '--seeds', *map(str, args.seeds)]
            row = [Path(pair.student).stem, Path(pair.teacher).stem]
            try:
                scores = scores_of(score_parser().parse_args(words + ['--generated'] * args.generated))[pair.teacher]
            except KDPluginsError as error:
                print(f'note: {" and ".join(row)} have no score: {error}', file=sys.stderr)
                continue
            for name, values in columns.items():
                own = [getattr(one, 'total' if name == 'score' else name) for one in scores]
                if None in own:
                    row.append('-')
                else:
                    values.append((statistics.fmean(own), pair.gain))
                    row.append(f'{values[-1][0]:.4f}')
            rows.append([*row, f'{pair.gain:+.2f} %', ', '.join(pair.arms)])
        print_table('pairs', ['student', 'teacher', *columns, 'gain', 'arms'], rows)
        print()
        for name, values in columns.items():
            rho, p_value = rank_correlation([one for one, _ in values], [gain for _, gain in values])
            print(f'{name}: Spearman {rho:+.2f} over {len(values)} pairs, two-sided p = {p_value:.2f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
