"""Fisher information: squared gradients by hand, and the record in a checkpoint."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.errors import CheckpointError
from kd_plugins.ops.fisher import fisher_record, information_of, squared_gradients


def test_squared_gradients_of_a_linear_regression() -> None:
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]])
    targets = torch.tensor([1.0, 0.0, 2.0])
    weight = torch.tensor([0.5, -1.0], requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    sums, none = squared_gradients((0.5 * (weight @ x - y) ** 2 for x, y in zip(inputs, targets)), [weight, unused])
    # d/dw = (w.x - y) x: residuals -2.5, 2.5 and -3.
    residuals = inputs @ weight.detach() - targets
    assert residuals.tolist() == [-2.5, 2.5, -3.0]
    torch.testing.assert_close(sums, torch.tensor([2.5**2 * (1 + 9), 2.5**2 * (4 + 1) + 9.0]))
    assert none.tolist() == [0.0, 0.0] and weight.grad is None
    # The square of the batch's mean gradient, as in the released code, is another value.
    mean = torch.autograd.grad((0.5 * (inputs @ weight - targets) ** 2).mean(), weight)[0]
    assert not torch.allclose(3 * mean.square(), sums)


def test_record() -> None:
    values = {'a': torch.ones(2)}
    assert information_of({'fisher': fisher_record(values, 4)}, 'file') == values
    with pytest.raises(CheckpointError, match=r"^file holds no Fisher information; train .* or use method='l2'$"):
        information_of({'state_dict': {}}, 'file')
    for wrong in (3, {'version': 1}, {'version': 1, 'information': {'a': 1}}, {'version': 0, 'information': values}):
        with pytest.raises(CheckpointError, match='^file: its Fisher information is damaged or of another version'):
            information_of({'fisher': wrong}, 'file')
