"""Graphs of samples: centres, neighbours, weights, and their place among all points."""

from __future__ import annotations

import torch

from kd_plugins.distillers.local_graph.graphs import build_graph


def test_a_line_of_points_by_hand() -> None:
    space = torch.tensor([[[0.0], [1.0], [3.0], [7.0]], [[0.0], [4.0], [5.0], [9.0]]])
    importance = torch.tensor([[0.0, 5.0, 1.0, 2.0], [3.0, 0.0, 2.0, 1.0]])
    graph = build_graph(space, importance, 2, 2, lambda chosen: chosen / chosen.sum(1, keepdim=True), first=10)
    assert graph.centers.tolist() == [[11, 13], [14, 16]]
    assert [sorted(row) for row in graph.neighbours.flatten(0, 1).tolist()] == [[10, 11], [12, 13], [14, 15], [15, 16]]
    torch.testing.assert_close(graph.weights, torch.tensor([[5 / 7, 2 / 7], [0.6, 0.4]]))


def test_one_neighbour_is_the_point_itself() -> None:
    graph = build_graph(torch.randn(2, 6, 3), torch.randn(2, 6), 4, 1, lambda chosen: chosen)
    assert torch.equal(graph.neighbours[..., 0], graph.centers)


def test_few_points_give_small_graphs() -> None:
    graph = build_graph(torch.randn(1, 3, 2), torch.randn(1, 3), 10, 10, lambda chosen: chosen)
    assert graph.centers.shape == (1, 3) and graph.neighbours.shape == (1, 3, 3)
    empty = build_graph(torch.randn(1, 0, 2), torch.randn(1, 0), 10, 10, lambda chosen: chosen)
    assert empty.centers.shape == (1, 0)


def test_a_graph_has_no_gradient() -> None:
    space = torch.randn(1, 5, 2, requires_grad=True)
    graph = build_graph(space, space[..., 0], 3, 2, lambda chosen: chosen.softmax(1))
    assert not graph.weights.requires_grad
