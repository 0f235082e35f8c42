"""Error sentences of StageLocalizationDistiller."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kd_plugins.distillers import StageLocalizationDistiller
from kd_plugins.hooks import DistillHook
from tests.distillers.common import cascade, sentence
from tests.distillers.stages import BATCH, BINS, TwoStages, distiller, images, outputs, value


def test_stages_of_a_cascade_do_not_correspond() -> None:
    """Why a cascade is refused: it gives every stage equally many proposals, in an order of its own.

    The thresholds rise from stage to stage, as in the configs of Cascade R-CNN, and positive proposals come first.
    """
    model = cascade()
    from mmengine.structures import InstanceData

    torch.manual_seed(0)
    rois: list[Tensor] = []
    for extractor in model.roi_head.bbox_roi_extractor:
        extractor.register_forward_pre_hook(lambda _, args: rois.append(args[1].detach().clone()))
    for head in model.roi_head.bbox_head:
        nn.init.zeros_(head.fc_reg.weight)  # no stage moves a box, so that only the sampling can
        nn.init.zeros_(head.fc_reg.bias)
    truth = torch.tensor([8.0, 8.0, 30.0, 24.0])
    corners = 40 * torch.rand(60, 2)
    proposals = torch.cat([corners, corners + 8 + 14 * torch.rand(60, 2)], dim=1)
    proposals[:20] = truth + torch.tensor([0.0, 0.0, 0.0, 8.0])  # IoU 2 / 3
    _, samples = images(1)
    samples = samples[:1]
    samples[0].gt_instances.bboxes = truth[None]
    model.roi_head.loss([torch.randn(1, 4, 16, 16)], [InstanceData(bboxes=proposals)], samples)
    first, second = rois
    assert first.shape == second.shape, 'the shapes would not tell'
    assert not torch.allclose(first, second, atol=1.0)


def test_cascade_is_refused() -> None:
    made = distiller(logits='roi_head.bbox_head.*.fc_reg')
    with sentence(
        r"stages.logits: 'roi_head.bbox_head.0.fc_reg' belongs to CascadeRoIHead, .* new proposals .* nearest: RoI"
    ):
        made.check_models(cascade(), nn.Module())


def test_config_sentences() -> None:
    for key, bad in (
        ('temperature', 0),
        ('bins', 1),
        ('bins', True),
        ('bins', 17.0),
        ('levels', 0),
        ('accumulate', 'yes'),
        ('activation', 'tanh'),
    ):
        with sentence(rf'distillers.<name>.{key} is {bad!r}; (valid|nearest|it must)'):
            StageLocalizationDistiller('x', **{key: bad})
    config: dict[str, Any] = dict(type='kd_plugins.StageLocalizationDistiller', logits='x')
    with sentence("distillers.s: StageLocalizationDistiller has no argument 'source'"):
        DistillHook(distillers=dict(s={**config, 'source': 'teacher'}))
    with sentence("distillers.s.activation is 'tanh'"):
        DistillHook(distillers=dict(s={**config, 'activation': 'tanh'}))
    with sentence("distillers.stages.logits: 'head.stages.*' names no module"):
        distiller().check_models(TwoStages(), TwoStages())


def refused(match: str, logits: list[Tensor], scores: list[Tensor] | None = None, **options: Any) -> None:
    if scores is not None:
        options['scores'] = 'head.cls'
    with sentence(f'distillers.stages.{match}'):
        distiller(**options).initialize({'logits': logits}, {} if scores is None else {'scores': scores})


def test_shape_sentences() -> None:
    queries, maps = outputs(2, 5, 4 * BINS), outputs(2, 4 * BINS, 3, 3)
    refused(r"logits: 'head.stages.\*' gives one stage", queries[:1])
    refused('logits: .* gives one stage', maps, levels=3)
    refused('logits: .* gives 3 outputs with levels=2', maps, levels=2)
    refused(r'logits: .* \(2, 5, 4, 6\), which can mean several things; .*levels .*bins', outputs(2, 5, 4, BINS))
    refused('logits: .* can mean several things', outputs(2, 4 * BINS, 4, 4))
    refused(r'logits: .* 25 is not divisible by 4', outputs(2, 5, 25))
    refused(r'logits: .* 4 numbers are a box .*FDRDINOHead', outputs(2, 5, 4))
    refused(r'logits: .* with bins=17 it must be \(..., 4, bins\) or .* = 68; set bins', queries, bins=17)
    refused(r'logits: .* set bins to the number of logits per edge, or set levels', maps, bins=BINS)
    refused(r'logits: .* with levels=1 it must be \(N, 4 \* bins, H, W\); leave', queries, levels=1)
    refused(r'logits: .* with bins=17 it must be \(N, 4 \* bins, H, W\), 4', maps, levels=1, bins=17)
    unequal = [*queries[:1], *outputs(2, 4, 4 * BINS, stages=2)]
    refused(r'logits: .* \(2, 5, 24\) in stage 0 and \(2, 4, 24\) in the last; .* same locations', unequal)
    refused(r'logits: .* in stage 0 .* same locations', [*outputs(2, 5, 28, stages=1), *queries[1:]])
    classes = outputs(2, 5, 3)
    refused(r"scores: 'head.cls' gives 2 outputs; valid: 1 of the last stage, or 3", queries, classes[:2])
    refused(r'scores: .* gives \(2, 4, 3\) for edge logits \(2, 5, 24\)', queries, outputs(2, 4, 3, stages=1))
    refused(r'scores: .* for edge logits', maps, outputs(2, 3, 3, 4, stages=1), levels=1)
    refused(r'scores: .* for edge logits', maps, outputs(2, 9, 3, stages=1), levels=1)
    refused("scores: .* gives 1 classes; activation='softmax'", queries, outputs(2, 5, 1), activation='softmax')


def test_shapes_are_checked_in_every_batch() -> None:
    made = distiller()
    value(made, outputs(2, 5, 4 * BINS))
    with sentence('same locations'):
        made({'logits': [*outputs(2, 5, 4 * BINS, stages=1), *outputs(2, 4, 4 * BINS, stages=1)]}, {}, BATCH)
