"""Report of an experiment: what its page holds, and that the committed pages are those of the committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_plugins.comparison.experiment_report import experiment_page, write_experiment
from kd_plugins.comparison.protocol import read_protocol
from kd_plugins.comparison.queue import perform
from tests.comparison.experiment_runs import Trainings, experiment_of, trainings

pytest.importorskip('scipy')
pytest.importorskip('matplotlib')
__all__ = ['trainings']
ROOT = Path(__file__).parents[2]
REPORTED = sorted(
    path.parent for path in ROOT.glob('results/*/protocol.py') if (path.parent / 'results.json').is_file()
)


def test_a_page_is_written_whole_from_the_logs(tmp_path: Path, trainings: Trainings) -> None:
    experiment = experiment_of(tmp_path)
    perform(experiment.tasks((0, 1, 2)))
    (tmp_path / 'trial' / 'conclusion.md').write_text('# A trial\n\nIt does.\n')
    text = write_experiment(experiment)
    assert '\n# A trial\n\nIt does.\n' in text and 'Refuted if: It does not.' in text
    assert 'taught is better than plain by' in text and '| after |' in text
    assert (tmp_path / 'trial' / 'logs' / 'taught_seed_1.jsonl.gz').is_file()
    values = json.loads((tmp_path / 'trial' / 'results.json').read_text())
    assert values['added_seeds'] == [2]
    assert experiment_page(experiment.protocol, values, '# A trial\n\nIt does.') == text == write_experiment(experiment)


@pytest.mark.parametrize('folder', REPORTED, ids=lambda folder: folder.name)
def test_committed_pages_are_those_of_the_committed_results(folder: Path) -> None:
    values = json.loads((folder / 'results.json').read_text())
    conclusion = (folder / 'conclusion.md').read_text().strip()
    page = experiment_page(read_protocol(folder / 'protocol.py'), values, conclusion)
    assert (ROOT / 'docs' / 'results' / f'{folder.name}.md').read_text() == page
