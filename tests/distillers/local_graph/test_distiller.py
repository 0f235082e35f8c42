from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from kd_plugins.distillers import Batch, LocalGraphDistiller
from kd_plugins.distillers.local_graph.selection import effective_support
from tests.distillers.common import check_step, make_batch
from tests.distillers.local_graph.samples import BATCH, built, direct, only_graph, taps, voxel_batch

# What is computed.


@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('edge', ['concat', 'difference'])
def test_maps(edge: str, pool: bool) -> None:
    student, teacher = taps([(2, 4, 6, 8), (2, 4, 1, 2)], [(2, 7, 6, 8), (2, 7, 1, 2)])
    distiller = built(student, teacher, edge=edge, pool=pool)
    actual = check_step(distiller, student, teacher, BATCH)['loss_local_graph']
    wanted = direct(distiller, student, teacher, lambda x: torch.cat([image.flatten(1).T for image in x]), BATCH)
    torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-6)
    assert all(param.grad is not None for param in distiller.parameters())
    assert 'EdgeAdapter' in distiller.spec()['teacher_adapters']


def test_voxels_in_any_order() -> None:
    owners = [1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 0]
    batch = voxel_batch(owners)
    student, teacher = taps([(12, 4)], [(12, 6)])
    distiller = built(student, teacher, points='voxel', importance='count', num_points=3)
    actual = check_step(distiller, student, teacher, batch)['loss_local_graph']
    rows = [i for sample in (0, 1) for i, owner in enumerate(owners) if owner == sample]
    wanted = direct(distiller, student, teacher, lambda x: x[rows], batch)
    torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-6)
    # The fullest voxels are the last of each sample.
    graphs = distiller.graphs(teacher, batch)[0]
    assert [{rows[i] for i in graph.centers[0].tolist()} for graph in graphs] == [{11, 9, 7}, {10, 8, 4}]
    assert distiller.places(teacher, batch)[0].tolist() == [[i, 2 * i, 0] for i in rows]


def test_points_with_coordinates_and_indices() -> None:
    """What a set abstraction of PointNet++ returns: coordinates, features, indices."""
    places = torch.randn(2, 20, 3)
    student = {'student_tap': [places.clone(), torch.randn(2, 4, 20), torch.randint(20, (2, 20))]}
    teacher = {'teacher_tap': [places.clone(), torch.randn(2, 6, 20), torch.randint(20, (2, 20))]}
    batch = Batch({'points': [torch.randn(50, 4)] * 2}, [None, None])
    distiller = built(student, teacher, points='point', space='coordinate')
    assert [len(distiller.student_adapters), len(distiller.teacher_adapters)] == [1, 1]
    (graph,) = distiller.graphs(teacher, batch)[0]
    for sample, cloud in enumerate(places):
        distances = torch.cdist(cloud[graph.centers[sample] - 20 * sample], cloud)
        wanted = distances.topk(4, largest=False).indices + 20 * sample
        assert torch.equal(graph.neighbours[sample].sort(dim=1).values, wanted.sort(dim=1).values)
    student['student_tap'][1].requires_grad_()
    distiller(student, teacher, batch)['loss_local_graph'].backward()
    assert student['student_tap'][1].grad.abs().sum() > 0


def test_points_take_the_raw_coordinates_where_there_are_as_many() -> None:
    _, teacher = taps([(2, 4, 20)])
    clouds = [torch.randn(20, 4), torch.randn(20, 4)]
    distiller = built({'student_tap': teacher['teacher_tap']}, teacher, points='point', space='coordinate')
    places = distiller.places(teacher, Batch({'points': clouds}, [None, None]))[0]
    assert torch.equal(places, torch.cat(clouds)[:, :3])


def test_padding_has_no_points() -> None:
    """A batch of 64 x 64 with images of 64 x 32 and 33 x 64, on a map of stride 8."""
    batch = make_batch([None, None])
    batch.data_samples[0].metainfo['img_shape'] = (64, 32)
    batch.data_samples[1].metainfo['img_shape'] = (33, 64)
    student, teacher = taps([(2, 4, 8, 8)])
    distiller = built(student, teacher, num_points=100)
    places = distiller.places(teacher, batch)[0]
    assert len(places) == 8 * 4 + 5 * 8
    assert places[:32].amax(dim=0).tolist() == [28.0, 60.0] and places[32:].amax(dim=0).tolist() == [60.0, 36.0]
    assert [graph.centers.shape for graph in distiller.graphs(teacher, batch)[0]] == [(1, 32), (1, 40)]
    check_step(distiller, student, teacher, batch)
    grad = student['student_tap'][0].grad
    assert grad[0, :, :, 4:].abs().sum() == 0 and grad[1, :, 5:].abs().sum() == 0 and grad.abs().sum() > 0


@pytest.mark.parametrize('size', [16, 4])
def test_resized_maps_read_no_padding(size: int) -> None:
    batch = make_batch([None, None], img_shape=(41, 33))
    student, teacher = taps([(2, 4, 8, 8)], [(2, 4, size, size)])
    distiller = built(student, teacher, num_points=256, resize='bilinear')
    check_step(distiller, student, teacher, batch)
    gradient = student['student_tap'][0].grad
    assert gradient[:, :, 6:].abs().sum() == gradient[..., 5:].abs().sum() == 0 and gradient.abs().sum() > 0


def test_coordinates_belong_to_the_features() -> None:
    teacher = {'teacher_tap': [torch.arange(24.0).view(1, 1, 4, 6)]}
    distiller = built({'student_tap': teacher['teacher_tap']}, teacher)
    batch = Batch(torch.zeros(1, 3, 32, 48), [SimpleNamespace(metainfo={})])
    places = distiller.places(teacher, batch)[0]
    values = teacher['teacher_tap'][0][0].flatten(1).T
    assert places[int((values == 8).nonzero()[0, 0])].tolist() == [2 * 8 + 4, 8 + 4]
    # Without an input image, cells count.
    cells = distiller.places(teacher, Batch(None, [None]))[0]
    assert torch.equal(cells * 8, places)


# What is selected.


def peak(features: Tensor) -> Tensor:
    return -features[:, 0]


def test_importance() -> None:
    _, teacher = taps([(2, 4, 6, 8)])
    rows = teacher['teacher_tap'][0][0].flatten(1).T
    teacher['scores'] = [torch.randn(2, 3, 6, 8)]
    scores = teacher['scores'][0][0].flatten(1).T
    cases = {
        'max': ({}, rows.amax(dim=1)),
        'norm': ({}, rows.norm(dim=1)),
        'score': ({'scores': 'bbox_head.cls'}, scores.sigmoid().amax(dim=1)),
        'tests.distillers.local_graph.test_distiller.peak': ({}, -rows[:, 0]),
    }
    for name, (options, wanted) in cases.items():
        graph = only_graph(teacher, importance=name, **options)
        assert set(graph.centers.tolist()) == set(wanted.topk(6).indices.tolist()), name
        chosen = wanted[graph.centers]
        torch.testing.assert_close(graph.weights, (chosen / chosen.std(correction=0)).softmax(dim=0))
    uniform = only_graph(teacher, temperature=None)
    torch.testing.assert_close(uniform.weights, torch.full((6,), 1 / 6))


def test_neighbours_are_near_in_the_space_that_is_asked_for() -> None:
    _, teacher = taps([(1, 4, 9, 11)])
    batch = make_batch([None])
    rows = teacher['teacher_tap'][0][0].flatten(1).T
    ys, xs = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing='ij')
    # The map is stretched to 64 x 64 pixels.
    places = torch.stack([xs.flatten() * 64 / 11, ys.flatten() * 64 / 9], dim=1)
    spaces = {'feature': rows, 'coordinate': places}
    spaces['both'] = torch.cat([(x - x.mean(0)) / x.var(0, correction=0).sum().sqrt() for x in (rows, places)], dim=1)
    for name, space in spaces.items():
        graph = only_graph(teacher, batch, space=name, num_neighbours=5)
        distances = torch.cdist(space, space)[graph.centers]
        actual = distances.gather(1, graph.neighbours).sort(dim=1).values
        torch.testing.assert_close(actual, distances.topk(5, largest=False).values, rtol=1e-4, atol=1e-4)


def test_one_neighbour_is_the_point_itself() -> None:
    graph = only_graph({'teacher_tap': [torch.ones(1, 4, 5, 5)]}, make_batch([None]), num_neighbours=1)
    assert torch.equal(graph.neighbours, graph.centers[:, None])


def test_the_student_has_no_say_in_the_graph() -> None:
    student, teacher = taps([(2, 4, 6, 8)])
    distiller = built(student, teacher)
    for graph in distiller.graphs(teacher, BATCH)[0]:
        assert not any(part.requires_grad for part in graph)
    before = distiller.graphs(teacher, BATCH)[0][0].neighbours
    student['student_tap'][0].mul_(100)
    assert torch.equal(distiller.graphs(teacher, BATCH)[0][0].neighbours, before)


def test_samples_do_not_see_each_other() -> None:
    """Of one sample's gradient, another sample changes the normalisation alone: with the same edges twice, nothing."""
    student, teacher = taps([(1, 4, 6, 8)])
    twice = (
        {'student_tap': [student['student_tap'][0].repeat(2, 1, 1, 1)]},
        {'teacher_tap': [teacher['teacher_tap'][0].repeat(2, 1, 1, 1)]},
    )
    distiller = built(student, teacher)
    alone = check_step(distiller, student, teacher, make_batch([None]))['loss_local_graph']
    both = check_step(distiller, *twice, BATCH)['loss_local_graph']
    torch.testing.assert_close(both, alone)
    torch.testing.assert_close(
        2 * twice[0]['student_tap'][0].grad[1], student['student_tap'][0].grad[0], rtol=1e-4, atol=1e-7
    )
    # Neighbours of far points come from the own sample: at most the own points are indexed, and the nearest of them.
    teacher = {'teacher_tap': [torch.cat([torch.randn(1, 4, 6, 8), torch.randn(1, 4, 6, 8)])]}
    (both_graphs,) = distiller.graphs(teacher, BATCH)[0]
    for sample, image in enumerate(teacher['teacher_tap'][0]):
        (lone,) = distiller.graphs({'teacher_tap': [image[None]]}, make_batch([None]))[0]
        actual = both_graphs.neighbours[sample] - 48 * sample
        assert torch.equal(actual.sort(dim=1).values, lone.neighbours[0].sort(dim=1).values)


def test_released_pillars_cross_samples_and_ours_do_not() -> None:
    owners = [0] * 6 + [1] * 6
    student, teacher = taps([(12, 4)])
    teacher['teacher_tap'][0][6:] = teacher['teacher_tap'][0][:6] + 1e-4
    kwargs = {'points': 'voxel', 'num_points': 6, 'num_neighbours': 2}
    separate = built(student, teacher, importance='count', **kwargs).graphs(teacher, voxel_batch(owners))[0]
    released = built(student, teacher, reference='pointpillars', **kwargs).graphs(teacher, voxel_batch(owners))[0]
    assert separate[0].centers.shape == (2, 6) and released[0].centers.shape == (1, 6)
    assert torch.equal(separate[0].neighbours >= 6, torch.tensor([False, True])[:, None, None].expand(2, 6, 2))
    # The twin in the other sample is nearest.
    near = released[0].neighbours[0]
    assert (near < 6).any(dim=1).all() and (near >= 6).any(dim=1).all()


# Inputs that are small, empty or constant.


@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('points', ['grid', 'voxel', 'point'])
@pytest.mark.parametrize('counts', [[0, 0], [0, 9], [1, 1], [1], [3, 12], []], ids=str)
def test_few_points(points: str, counts: list[int], pool: bool) -> None:
    """Empty clouds, one point, fewer points than N or K, a batch of one, and none."""
    samples = len(counts)
    if points == 'voxel':
        owners = [sample for sample, count in enumerate(counts) for _ in range(count)]
        shape: tuple[int, ...] = (len(owners), 4)
        batch = voxel_batch(owners, samples)
    else:
        width = max(counts, default=0)
        shape = (samples, 4, 1, width) if points == 'grid' else (samples, 4, width)
        batch = make_batch([None] * samples, None)
    student, teacher = taps([shape], [(*shape[:1], 6, *shape[2:])])
    distiller = built(student, teacher, points=points, pool=pool)
    check_step(distiller, student, teacher, batch)
    assert all(param.grad is not None and param.grad.isfinite().all() for param in distiller.parameters())


def test_a_sample_without_points_does_not_count() -> None:
    student, teacher = taps([(9, 4)])
    distiller = built(student, teacher, points='voxel')
    one = check_step(distiller, student, teacher, voxel_batch([0] * 9, samples=1))
    three = check_step(distiller, student, teacher, voxel_batch([1] * 9, samples=3))
    torch.testing.assert_close(one, three)


@pytest.mark.parametrize('value', [0.0, 1e4, -3.0])
def test_identical_points(value: float) -> None:
    student, teacher = taps([(2, 4, 5, 5)], [(2, 6, 5, 5)])
    for space in ('feature', 'both'):
        constant = {'teacher_tap': [torch.full((2, 6, 5, 5), value)]}
        distiller = built(student, constant, space=space)
        check_step(distiller, student, constant, BATCH)
        check_step(distiller, {'student_tap': [torch.full((2, 4, 5, 5), value)]}, teacher, BATCH)


# Teachers, adapters, monitors.


@pytest.mark.parametrize('pool', [False, True])
def test_equal_networks_lose_nothing(pool: bool) -> None:
    """At the start: the average of a network, or its snapshot, has the same features."""
    student, _ = taps([(2, 4, 6, 8)])
    teacher = {'teacher_tap': [student['student_tap'][0].clone()]}
    distiller = built(student, teacher, pool=pool)
    assert check_step(distiller, student, teacher, BATCH)['loss_local_graph'] < 1e-10
    assert student['student_tap'][0].grad.abs().max() < 1e-6
    assert distiller.student_adapters[0] is not distiller.teacher_adapters[0]


def test_a_deeper_layer_teaches() -> None:
    distiller = LocalGraphDistiller('backbone.layer2', 'backbone.layer3', source='student', resize='bilinear')
    assert distiller.student_taps() == {'student_tap': 'backbone.layer2'}
    assert distiller.teacher_taps() == {'teacher_tap': 'backbone.layer3'}
    model = nn.Identity()
    distiller.check_models(model, model)
    student, teacher = taps([(2, 4, 8, 8)], [(2, 8, 4, 4)])
    distiller.initialize(student, teacher)
    assert check_step(distiller, student, teacher, BATCH)['loss_local_graph'] > 0


def test_a_second_start_makes_the_adapters_anew() -> None:
    # A run that was interrupted goes on in the same process, with the same object.
    student, teacher = taps([(2, 4, 6, 8)], [(2, 3, 6, 8)])
    distiller = built(student, teacher)
    state = {name: value.clone() for name, value in distiller.state_dict().items()}
    distiller.initialize(student, teacher)
    distiller.load_state_dict(state)
    check_step(distiller, student, teacher, BATCH)


def test_a_frozen_teacher_adapter_stays() -> None:
    student, teacher = taps([(2, 4, 6, 8)])
    distiller = built(student, teacher, freeze_teacher_adapter=True)
    check_step(distiller, student, teacher, BATCH)
    assert all(param.grad is None for param in distiller.teacher_adapters.parameters())
    assert all(param.grad is not None for param in distiller.student_adapters.parameters())


def test_without_affine_the_loss_cannot_shrink_by_scale() -> None:
    torch.manual_seed(0)
    student, teacher = {'student_tap': [torch.randn(2, 4, 8, 8)]}, {'teacher_tap': [torch.randn(2, 6, 8, 8)]}
    losses, spreads = {}, {}
    for affine in (True, False):
        distiller = built(student, teacher, affine=affine)
        trained = [param for param in distiller.parameters() if param.requires_grad]
        assert len(trained) == (6 if affine else 2)
        optimizer = torch.optim.Adam(trained, lr=0.02)
        for _ in range(100):
            loss = distiller(student, teacher, make_batch([None] * 2))['loss_local_graph']
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[affine] = float(loss.detach())
        spreads[affine] = [float(distiller.monitors()[name]) for name in ('teacher_spread', 'student_spread')]
    # These features have nothing in common, so only constant outputs make the loss small.
    assert losses[True] < 0.1 * losses[False]
    assert max(spreads[True]) < 0.3 and min(spreads[False]) > 0.5


def test_the_student_learns_the_teachers_geometry() -> None:
    torch.manual_seed(0)
    teacher = {'teacher_tap': [torch.randn(1, 6, 4, 4)]}
    features = torch.randn(1, 6, 4, 4, requires_grad=True)
    distiller = built({'student_tap': [features]}, teacher, freeze_teacher_adapter=True)
    optimizer = torch.optim.Adam([features, *distiller.student_adapters.parameters()], lr=0.1)
    values = []
    for _ in range(60):
        loss = distiller({'student_tap': [features]}, teacher, make_batch([None]))['loss_local_graph']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.3 * values[0]


def test_monitors_say_how_many_points_share_the_weight() -> None:
    student, teacher = taps([(2, 4, 6, 8), (2, 4, 1, 2)])
    distiller = built(student, teacher)
    assert distiller.monitors() == {}
    distiller(student, teacher, BATCH)
    actual = distiller.monitors()
    supports = [effective_support(graph.weights) for graphs in distiller.graphs(teacher, BATCH) for graph in graphs]
    torch.testing.assert_close(actual['effective_points'], torch.cat(supports).mean())
    assert actual['selected_points'] == (6 + 6 + 2 + 2) / 4
    assert all(value.shape == () and not value.requires_grad for value in actual.values())
    assert 0.3 < actual['teacher_spread'] < 0.8 and 0.3 < actual['student_spread'] < 0.8


def collapse(distiller: LocalGraphDistiller, which: list[nn.ModuleList]) -> None:
    for adapters in which:
        for adapter in adapters:
            adapter.scale.data.zero_()
            adapter.shift.data.fill_(0.5)


@pytest.fixture
def messages() -> Any:
    """Messages of the current logger, which does not propagate them."""
    received: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: received.append(record.getMessage())  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    level = logger.level
    # An earlier test may have left the logger of a run that reports errors alone.
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield received
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize('case', ['healthy', 'student', 'both', 'constant'])
def test_collapse_is_reported_once(case: str, messages: list[str]) -> None:
    student, teacher = taps([(2, 4, 6, 8), (2, 4, 3, 4)])
    distiller = built(student, teacher, key='distillers.graph')
    both = [distiller.student_adapters, distiller.teacher_adapters]
    collapse(distiller, {'healthy': [], 'student': both[:1]}.get(case, both))
    if case == 'constant':
        teacher = {'teacher_tap': [torch.ones_like(x) for x in teacher['teacher_tap']]}
    for iteration in (0, 1, 50, 100):
        distiller(student, teacher, Batch(BATCH.inputs, BATCH.data_samples, iteration))
    assert len(messages) == (case == 'both')
    if messages:
        assert messages[0].startswith('distillers.graph: at level 0 both edge functions give nearly the same output')
        assert 'affine=False' in messages[0]
