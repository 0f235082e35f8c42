"""Instructive maps: attention, painting, padding and the order of objects."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers import Batch
from kd_plugins.distillers.label_guided import (
    DetectionTask,
    Instructor,
    MapLayers,
    ObjectAttention,
    TaskSettings,
    object_means,
    painted,
)
from kd_plugins.distillers.locations import positions_on_images
from tests.distillers.label_guided.pictures import labelled_batch

BOXES = [[[0.0, 0.0, 32.0, 16.0], [8.0, 8.0, 24.0, 40.0], [4.0, 30.0, 20.0, 47.0]], []]
LABELS = [[1, 0, 2], []]


def pyramid(images: int = 2, seed: int = 0, size: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, 8, size // step, size // step, generator=generator) for step in (8, 16)]


class Detector(nn.Module):
    """A detector of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.bbox_head = nn.Module()
        self.bbox_head.num_classes = 3


def instructor(reference: bool = False, channels: tuple[int, ...] = (8, 8), **options: Any) -> Instructor:
    torch.manual_seed(0)
    return Instructor(channels, 7, num_heads=2, width=0.25, mean=not reference, **options)


def seen(levels: list[Tensor], batch: Batch, context: bool, reference: bool) -> tuple[Any, list[Any]]:
    """Objects of a batch, and the cells of each level that lie on the images."""
    found = positions_on_images(levels, batch)
    insides = [None if one is None else one.view(len(x), 1, *x.shape[2:]) for one, x in zip(found, levels)]
    task = DetectionTask(Detector(), TaskSettings('x', context, reference=reference))
    return task.objects(batch, levels[0].detach()), [None] * len(levels) if reference else insides


def maps_of(net: Instructor, levels: list[Tensor], batch: Batch, context: bool = True) -> list[Tensor]:
    return net(levels, *seen(levels, batch, context, not net.mean))


def test_means_and_painting() -> None:
    x, cells = torch.randn(2, 5, 4, 6), (torch.rand(2, 3, 4, 6) < 0.4).float()
    cells[1, 2] = 0
    means = object_means(x, cells)
    for image in range(2):
        for one in range(3):
            inside = x[image][:, cells[image, one] > 0]
            expected = inside.mean(dim=1) if inside.numel() else torch.zeros(5)
            torch.testing.assert_close(means[image, one], expected)
    total = torch.einsum('ngc,nghw->nchw', means, cells)
    torch.testing.assert_close(painted(means, cells, mean=False), total)
    torch.testing.assert_close(painted(means, cells), total / cells.sum(1, keepdim=True).clamp(min=1))


def test_attention_is_that_of_torch_within_each_image() -> None:
    """The release attends over the objects of the batch, with a mask that forbids those of other images."""
    torch.manual_seed(0)
    net = ObjectAttention(8, 2)
    query, key = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    answer = net(query, key, valid)
    image = torch.arange(2)[:, None].expand(2, 3)[valid]
    other = image[:, None] != image
    flat = nn.MultiheadAttention(8, 2)
    flat.load_state_dict(net.attention.state_dict())
    expected, _ = flat(query[valid][:, None], key[valid][:, None], key[valid][:, None], attn_mask=other)
    torch.testing.assert_close(answer[valid], expected[:, 0])
    assert net(query, key, torch.zeros_like(valid)).isfinite().all()


def test_convolutions_see_zeros_on_padding() -> None:
    layers, x = MapLayers(8, 3, normalized=True), pyramid()[0]
    inside = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    inside[..., :5, :6] = True
    torch.testing.assert_close(layers(x, inside)[..., :5, :6], layers(x[..., :5, :6], None))


@pytest.mark.parametrize('context', [True, False])
@pytest.mark.parametrize('guide', ['appearance', 'labels'])
def test_gradients_reach_every_parameter_and_the_maps(context: bool, guide: str) -> None:
    net, levels = instructor(context=context, guide=guide), pyramid()
    leaves = [x.requires_grad_() for x in levels]
    maps = maps_of(net, leaves, labelled_batch(BOXES, LABELS), context)
    assert [x.shape for x in maps] == [x.shape for x in levels]
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()
    assert all(param.grad is not None and param.grad.isfinite().all() for param in net.parameters())
    assert all(param.grad.abs().sum() > 0 for name, param in net.named_parameters() if 'bias' not in name)
    assert all(x.grad is not None and x.grad[0].abs().sum() > 0 for x in leaves)


def test_images_without_objects() -> None:
    for context in (True, False):
        net = instructor(context=context)
        leaves = [x.requires_grad_() for x in pyramid()]
        maps = maps_of(net, leaves, labelled_batch([[], []], [[], []]), context)
        sum(x.sum() for x in maps).backward()
        # DistributedDataParallel needs a gradient of every parameter, on every rank.
        assert all(param.grad is not None and param.grad.isfinite().all() for param in net.parameters())
        assert all(x.isfinite().all() for x in maps)


def test_order_of_objects_changes_nothing() -> None:
    net, levels = instructor(), pyramid(1)
    order = [2, 0, 1]
    first = maps_of(net, levels, labelled_batch(BOXES[:1], LABELS[:1]))
    second = maps_of(net, levels, labelled_batch([[BOXES[0][i] for i in order]], [[LABELS[0][i] for i in order]]))
    for one, other in zip(first, second):
        torch.testing.assert_close(one, other)


def test_other_images_change_nothing() -> None:
    """Neither the number of their objects nor the padding that their size asks for."""
    net, levels = instructor(), pyramid(1)
    alone = maps_of(net, levels, labelled_batch(BOXES[:1], LABELS[:1]))
    # Both levels cover 96 x 96 pixels, of which the first image has 64 x 64.
    wide = [torch.randn(2, 8, 96 // step, 96 // step) for step in (8, 16)]
    for large, small in zip(wide, levels):
        large[:1, :, : small.shape[2], : small.shape[3]] = small
    crowd = [[float(i), 0.0, float(i + 9), 50.0] for i in range(6)]
    batch = labelled_batch([BOXES[0], crowd], [LABELS[0], [0] * 6], sizes=[(64, 64), (96, 96)], size=(96, 96))
    for large, small in zip(maps_of(net, wide, batch), alone):
        torch.testing.assert_close(large[:1, :, : small.shape[2], : small.shape[3]], small)
        assert (large[0, :, small.shape[2] :] == 0).all() and (large[0, :, :, small.shape[3] :] == 0).all()


def test_labels_change_the_map_and_padding_does_so_in_the_release() -> None:
    net, levels = instructor(), pyramid(1)
    first = maps_of(net, levels, labelled_batch(BOXES[:1], LABELS[:1]))
    second = maps_of(net, levels, labelled_batch(BOXES[:1], [[0, 1, 2]]))
    assert all(not torch.allclose(one, other) for one, other in zip(first, second))
    released = instructor(reference=True)
    assert list(released.state_dict()) == list(net.state_dict())
    third = maps_of(released, levels, labelled_batch(BOXES[:1], LABELS[:1]))
    assert all(x.isfinite().all() and not torch.allclose(x, y) for x, y in zip(third, first))


def test_reference_by_hand() -> None:
    """The arithmetic of the release, object by object."""
    net, levels = instructor(reference=True), pyramid(1)
    batch = labelled_batch(BOXES[:1], LABELS[:1])
    one_hot = torch.eye(3)[torch.tensor(LABELS[0])]
    corners = torch.tensor(BOXES[0]).clamp(max=63) / 64
    rows = torch.cat([torch.tensor([[0.0, 0.0, 63 / 64, 63 / 64, 0, 0, 0]]), torch.cat([corners, one_hot], 1)]) * 2 - 1
    embeddings = net.encoder(rows[None], torch.ones(1, 4, dtype=torch.bool))[0]
    for level, result in zip(levels, maps_of(net, levels, batch)):
        step = 64 / level.shape[2]
        norm = nn.GroupNorm(1, 8, affine=False)
        look = norm(net.appearance.convolutions[0](level)).relu()[0]
        index = torch.arange(level.shape[2]) * step
        boxes = [[0.0, 0.0, 63.0, 63.0], *(corners * 64).tolist()]
        cells = [((index >= y1) & (index <= y2))[:, None] & ((index >= x1) & (index <= x2)) for x1, y1, x2, y2 in boxes]
        means = torch.stack([look[:, mask].sum(1) / max(1, mask.sum()) for mask in cells])
        related, _ = net.relation.attention(means[None], embeddings[None], embeddings[None])
        canvas = torch.zeros_like(look)
        for vector, mask in zip(net.paint(related[0, 1:]), cells[1:]):
            canvas[:, mask] += vector[:, None]
        x = net.mapping.convolutions[0](canvas[None]) + net.surround(related[0, 0])[:, None, None]
        for convolution in net.refinement.convolutions:
            x = norm(convolution(x.relu()))
        torch.testing.assert_close(result, x, rtol=1e-4, atol=1e-5)


def test_levels_of_other_widths() -> None:
    net = instructor(channels=(8, 12), inner=16)
    fine, coarse = pyramid()
    leaves = [fine.requires_grad_(), torch.cat([coarse, coarse[:, :4]], dim=1).requires_grad_()]
    batch = labelled_batch(BOXES, LABELS, sizes=[(64, 48), (64, 64)])
    maps = maps_of(net, leaves, batch)
    assert [x.shape for x in maps] == [x.shape for x in leaves]
    assert all((x[0, :, :, 3 * x.shape[3] // 4 :] == 0).all() for x in maps), 'padding stays empty'
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()
    assert all(param.grad is not None and param.grad.isfinite().all() for param in net.parameters())


@pytest.mark.parametrize('guide', ['appearance', 'labels'])
def test_what_paints_the_map(guide: str) -> None:
    net, levels = instructor(guide=guide), pyramid()
    objects, insides = seen(levels, labelled_batch(BOXES, LABELS), True, False)
    explained = net.explained(levels, objects, insides)
    assert len(explained) == 2
    for (shares, cells), level in zip(explained, levels):
        assert shares.shape == (2, 4, 4) and cells.shape == (2, 4, *level.shape[2:])
        torch.testing.assert_close(shares.sum(dim=-1), torch.ones(2, 4))
        assert (shares[1, :, 1:] == 0).all(), 'an image without objects mixes its context alone'
        # With the shares of one head, the related vectors are the mixed values.
    single = Instructor((8, 8), 7, num_heads=1, width=0.25)
    _, _, looks = single._seen(levels, objects, insides)
    embeddings = single.encoder(objects.descriptors, objects.valid)
    related = single.related(looks, embeddings, objects.valid)
    attention = single.relation.attention
    values = embeddings @ attention.in_proj_weight[16:].T + attention.in_proj_bias[16:]
    for vectors, (shares, _) in zip(related, single.explained(levels, objects, insides)):
        mixed = attention.out_proj(shares @ values)
        torch.testing.assert_close(vectors[objects.valid], mixed[objects.valid])
