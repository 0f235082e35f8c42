"""Terms of neighbours and centres against the linear map of whole edges."""

from __future__ import annotations

import pytest
import torch

from kd_plugins.distillers.local_graph.edge_adapter import EDGES, EdgeAdapter
from kd_plugins.errors import ConfigError


@pytest.mark.parametrize('edge', EDGES)
def test_the_terms_add_up_to_the_map_of_an_edge(edge: str) -> None:
    torch.manual_seed(0)
    adapter = EdgeAdapter(3, 8, edge).double()
    points, centers = torch.randn(10, 3, dtype=torch.float64), torch.tensor([7, 2, 2])
    neighbours, center_terms = adapter(points, centers)
    for row, center in enumerate(centers):
        for neighbour in range(10):
            first = points[neighbour] - points[center] if edge == 'difference' else points[neighbour]
            expected = adapter.projection(torch.cat([first, points[center]]))
            torch.testing.assert_close(neighbours[neighbour] + center_terms[row], expected)


def test_the_normalisation_starts_as_the_identity() -> None:
    adapter = EdgeAdapter(3, 8)
    assert adapter.scale.eq(1).all() and adapter.shift.eq(0).all() and adapter.projection.bias is None
    assert all(param.requires_grad for param in adapter.parameters())


def test_an_unknown_edge() -> None:
    with pytest.raises(ConfigError, match="adapter.edge is 'diff'; nearest: 'difference'"):
        EdgeAdapter(3, 8, 'diff')
