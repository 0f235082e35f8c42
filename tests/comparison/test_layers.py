"""AP of the decoder layers in a report."""

from __future__ import annotations

import json
from pathlib import Path

from kd_plugins.comparison.layers import LAYERS, layers_table, read_layers


def written(folder: Path, *values: float) -> Path:
    folder.mkdir(parents=True)
    layers = [{'layer': i, 'AP': v, 'AP75': v / 2, 'AP75-90': v / 4, 'metrics': {}} for i, v in enumerate(values, 1)]
    (folder / LAYERS).write_text(json.dumps({'layers': layers}))
    return folder


def test_layers_are_averaged_over_the_seeds_that_have_them(tmp_path: Path) -> None:
    folders = {
        'plain': {0: written(tmp_path / 'a', 0.5, 0.6), 1: written(tmp_path / 'b', 0.52, 0.64)},
        'fdr': {0: written(tmp_path / 'c', 0.7, 0.8), 1: tmp_path / 'not measured'},
        'late': {0: tmp_path / 'not started'},
    }
    values = read_layers(folders)
    assert list(values) == ['plain', 'fdr'] and list(values['fdr']) == ['0']
    headers, rows = layers_table(values, ['plain', 'fdr'], 'AP75')
    assert headers == ['arm', 'layer 1', 'layer 2', 'seeds']
    assert rows == [['plain', '25.50 ± 0.71', '31.00 ± 1.41', '2'], ['fdr', '35.00', '40.00', '1']]


def test_an_arm_with_fewer_layers_leaves_cells_empty(tmp_path: Path) -> None:
    values = read_layers({'a': {0: written(tmp_path / 'a', 0.5, 0.6, 0.7)}, 'b': {0: written(tmp_path / 'b', 0.5)}})
    headers, rows = layers_table(values, values, 'AP')
    assert headers[-2:] == ['layer 3', 'seeds'] and rows[1] == ['b', '50.00', '', '', '1']
