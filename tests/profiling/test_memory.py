"""Memory of the tensors that are alive."""

import torch

from kd_plugins.profiling.memory import LiveBytes


def test_live_bytes_count_activations_until_backward():
    weight = torch.ones(1000, requires_grad=True)
    with LiveBytes([weight]) as live:
        value = weight.exp().sin().sum()
        assert live.now == 2 * 4000 + 4  # the weight, the exponential that both derivatives need, the sum
        value.backward()
        del value
        assert live.now == 2 * 4000  # the weight and its gradient
    assert live.peak >= 3 * 4000
