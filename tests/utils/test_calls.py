"""Arguments of forward calls by their role."""

from __future__ import annotations

from typing import Any

import pytest

from kd_plugins.utils import calls
from kd_plugins.utils.calls import ForwardCall


def openmmlab(inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> None: ...


def classifier(imgs: Any, labels: Any, mode: str) -> None: ...


def mode_first(mode: str, images: Any) -> None: ...


def anything(*args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ('forward', 'args', 'kwargs', 'expected'),
    [
        (openmmlab, (1, 2), {'mode': 'loss'}, (1, 2, 'loss')),
        (openmmlab, (1,), {}, (1, None, 'tensor')),
        (openmmlab, (), {'data_samples': 2, 'inputs': 1}, (1, 2, 'tensor')),
        (classifier, (1, 2, 'loss'), {}, (1, 2, 'loss')),
        (classifier, (), {'labels': 2, 'imgs': 1, 'mode': 'predict'}, (1, 2, 'predict')),
        (mode_first, ('loss', 1), {}, (1, None, 'loss')),
        (anything, (), {'inputs': 1, 'mode': 'loss'}, (1, None, 'loss')),
    ],
)
def test_roles(forward: Any, args: Any, kwargs: Any, expected: Any) -> None:
    call = ForwardCall(forward, args, kwargs)
    assert (call.inputs, call.data_samples, call.mode) == expected


def test_calling_again_with_changes() -> None:
    call = ForwardCall(classifier, (1, 2), {'mode': 'loss'})
    assert call.arguments(inputs=3, mode='tensor') == {'imgs': 3, 'labels': 2, 'mode': 'tensor'}
    assert ForwardCall(openmmlab, (1,), {}).arguments(mode='tensor') == {'inputs': 1, 'mode': 'tensor'}


class Model:
    """A model with a forward method."""

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> None: ...


def test_a_signature_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound or not, for every object of a class."""
    bound = ForwardCall(Model().forward, (1, 2), {})
    monkeypatch.setattr(calls, 'signature', lambda function: pytest.fail('the signature was read again'))
    again = ForwardCall(Model().forward, (3,), {'mode': 'loss'})
    unbound = ForwardCall(Model.forward, (None, 1, 2), {})
    assert (bound.inputs, bound.data_samples, again.inputs, again.mode) == (1, 2, 3, 'loss')
    assert unbound.arguments()['inputs'] == 1
