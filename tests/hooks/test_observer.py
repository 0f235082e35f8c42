"""What an observer keeps."""

from __future__ import annotations

import torch

from kd_plugins.distillers import Batch
from kd_plugins.distillers.collection import Term
from kd_plugins.hooks.observer import StepObserver, StepReport


def report(value: float) -> StepReport:
    return StepReport([Term('a', 'loss', torch.tensor(value), 1.0)], torch.tensor(1.0), Batch(None, []), {}, {})


def test_each_term_has_the_batch_of_its_images() -> None:
    labelled, unlabelled = Batch(None, ['a']), Batch(None, ['b'])
    terms = [Term('x', 'loss', torch.tensor(1.0), 1.0, on) for on in ('labelled', 'unlabelled')]
    both = StepReport(terms, torch.tensor(1.0), labelled, {}, {}, unlabelled)
    assert [both.batch_of(term) for term in terms] == [labelled, unlabelled]
    assert StepReport(terms, torch.tensor(1.0), labelled, {}, {}).batch_of(terms[1]) is labelled


def test_the_latest_report_is_kept() -> None:
    observer = StepObserver()
    assert observer.report is None and not observer.runs_all
    observer(report(1.0))
    last = report(2.0)
    observer(last)
    assert observer.report is last
