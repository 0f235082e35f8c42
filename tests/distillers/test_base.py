"""Settings and defaults of BaseDistiller."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_plugins.distillers import BaseDistiller, Batch
from kd_plugins.errors import ConfigError


def test_images_are_counted_by_their_samples() -> None:
    assert Batch(torch.zeros(3, 1), None).num_images == 3
    assert Batch({'points': [torch.zeros(5, 4)]}, ['a', 'b']).num_images == 2
    assert Batch(torch.zeros(3, 1), []).num_images == 0
    assert Batch(torch.zeros(3, 1), torch.zeros(3)).samples == () and Batch(None, ['a']).samples == ['a']


@pytest.mark.parametrize('source', ['auto', 'teacher', 'student'])
def test_weight_and_source(source: str) -> None:
    distiller = BaseDistiller({'type': 'kd_plugins.LinearWarmup', 'value': 2.0, 'end': 4}, source)
    assert distiller.source == source and [distiller.schedule(step, 8) for step in (0, 2, 4)] == [0.0, 1.0, 2.0]
    assert distiller.loss_names == () and distiller.monitors() == {}


def test_the_teacher_has_the_taps_of_the_student() -> None:
    class Tapped(BaseDistiller):
        def student_taps(self) -> dict[str, str]:
            return {'maps': 'neck'}

    assert Tapped().teacher_taps() == {'maps': 'neck'}


def test_adapters_are_described() -> None:
    distiller = BaseDistiller()
    distiller.adapter = nn.Linear(2, 3)
    assert distiller.spec() == {'adapter': 'Linear(in_features=2, out_features=3, bias=True)'}


@pytest.mark.parametrize(
    ('call', 'sentence'),
    [
        (lambda: BaseDistiller(source=None, key='distillers.a'), "distillers.a.source is None; valid: 'auto'"),
        (lambda: BaseDistiller(weight=-1.0, key='distillers.a'), "distillers.a.weight: 'Constant.value' is -1.0"),
        (lambda: BaseDistiller(key='distillers.a').student_taps(), 'distillers.a: .* must define student_taps'),
        (lambda: BaseDistiller(key='distillers.a')({}, {}, Batch(None, [])), 'distillers.a: .* must define forward'),
    ],
)
def test_sentences(call: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        call()  # type: ignore[operator]


def test_share_of_the_run_that_is_done() -> None:
    batches = [Batch(None, None, iteration=iteration, iterations=8) for iteration in (0, 2, 8)]
    assert [batch.progress for batch in batches] == [0.0, 0.25, 1.0]
    assert Batch(None, None, iteration=5).progress is None
