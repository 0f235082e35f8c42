"""CutMix with a decode head of MMSegmentation: targets line up with the student's images, in a session and in runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip('mmseg')
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope

from kd_plugins.distillers import BaseDistiller, FeatureDistiller, LogitDistiller
from kd_plugins.errors import ConfigError
from kd_plugins.hooks.session import DistillSession
from kd_plugins.hooks.student_view import StudentView
from kd_plugins.hooks.unlabelled import Unlabelled
from kd_plugins.losses import hard_label_loss
from kd_plugins.registry import MODELS
from kd_plugins.teachers import EMATeacher
from kd_plugins.views import BaseView, CutMix
from tests.hooks.tiny_runs import TinyGap
from tests.integration.runs import assert_same, weights
from tests.integration.unet_runs import run

SIZE = 32
KEY = 'distill.pixels.loss_logit'
POINTWISE = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[100.0] * 3, std=[60.0] * 3, size_divisor=16),
    backbone=dict(type='kd_plugins.PixelBackbone'),
    decode_head=dict(
        type='FCNHead',
        in_channels=3,
        in_index=0,
        channels=8,
        num_convs=1,
        kernel_size=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=4,
        norm_cfg=None,
        align_corners=False,
    ),
)
"""A segmentor in which each pixel of the output depends on the same pixel of the image alone."""


@MODELS.register_module(force=True)
class PixelBackbone(nn.Module):
    """The image itself as the only map; ``tokens`` and ``pooled`` give other shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.pooled = nn.Flatten(2), nn.AdaptiveAvgPool2d((4, 7))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        maps = inputs * self.scale
        self.tokens(maps)
        self.pooled(maps)
        return (maps,)


def segmentor() -> Any:
    with DefaultScope.overwrite_default_scope('mmseg'):
        model: Any = MMENGINE_MODELS.build(POINTWISE)
    return model.train()


def samples(sizes: list[tuple[int, int]]) -> list[Any]:
    from mmseg.structures import SegDataSample

    return [SegDataSample(metainfo=dict(img_shape=size, ori_shape=size)) for size in sizes]


def attached(distiller: BaseDistiller, view: BaseView, sizes: list[tuple[int, int]]) -> tuple[DistillSession, Any]:
    """Attach a distiller on unlabelled images to a segmentor, with a batch; return the labelled batch as well."""
    from mmengine.structures import PixelData

    torch.manual_seed(0)
    student, teacher = segmentor(), EMATeacher()
    teacher.prepare(student)
    distiller.on = 'unlabelled'
    unlabelled = Unlabelled(dict(dataloader=dict(batch_size=len(sizes), dataset=[])))
    unlabelled.open = lambda seed: None  # type: ignore[method-assign]
    unlabelled.seed = lambda iteration: 0  # type: ignore[method-assign]
    inputs = [torch.randint(0, 255, (3, *size), dtype=torch.uint8) for size in sizes]
    unlabelled.batch = dict(inputs=inputs, data_samples=samples(sizes))
    unlabelled.weight = 1.0
    session = DistillSession(
        student,
        {'pixels': distiller},
        {'teacher': teacher},
        lambda: None,
        (),
        unlabelled,
        StudentView(dict.fromkeys(view.on, view), student.data_preprocessor, 0),
    )
    session.weights = {'pixels': 1.0}
    labelled = samples([(SIZE, SIZE)])
    labelled[0].gt_sem_seg = PixelData(data=torch.zeros(1, SIZE, SIZE, dtype=torch.long))
    return session, (torch.randn(1, 3, SIZE, SIZE), labelled)


def soft(**settings: Any) -> LogitDistiller:
    return LogitDistiller(logits='decode_head.conv_seg', activation='softmax', key='distillers.pixels', **settings)


@pytest.mark.parametrize('sizes', [[(SIZE, SIZE)] * 3, [(SIZE, 20), (18, SIZE), (SIZE, SIZE)]])
def test_targets_line_up(sizes: list[tuple[int, int]]) -> None:
    """The teacher equals the student and pixels are independent, so only a shifted target could differ."""
    for view in (CutMix(prob=1.0), CutMix(prob=0.0)):
        session, batch = attached(soft(), view, sizes)
        losses = session.student(*batch, mode='loss')
        assert float(losses[KEY]) == pytest.approx(0.0, abs=1e-9)
    session, batch = attached(soft(), view := CutMix(prob=1.0), sizes)
    view.mixes = False  # type: ignore[misc]
    assert float(session.student(*batch, mode='loss')[KEY]) > 1e-3, 'targets of the unmixed images differ'


def test_a_deeper_layer_of_the_student_has_seen_the_view() -> None:
    distiller = TinyGap('decode_head.conv_seg', source='student', key='distillers.pixels')
    session, batch = attached(distiller, CutMix(prob=1.0), [(SIZE, SIZE)] * 2)
    assert session.student(*batch, mode='loss')['distill.pixels.loss_gap'] == 0


def test_confidence_and_class_are_those_of_the_mixed_place() -> None:
    grey = dict(type='kd_plugins.PhotometricView', preset='light', jitter_prob=0.0, grey_prob=1.0)
    view = CutMix(view=grey, prob=1.0)
    session, batch = attached(soft(target='hard', select=dict(score=0.4)), view, [(SIZE, SIZE)] * 2)
    seen: list[Tensor] = []
    session.student.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    loss = session.student(*batch, mode='loss')[KEY]
    assert session.view is not None and session.unlabelled is not None
    clean = session.student.data_preprocessor(session.unlabelled.batch, True)['inputs']
    with torch.no_grad():
        targets, logits = (session.teachers['teacher'].model(x, mode='tensor') for x in (clean, seen[-1]))
        mixed = view.mix(targets, clean, None, session.view._seed(0, 'unlabelled'))
        rows, student = (maps.movedim(1, -1) for maps in (mixed, logits))
        chosen = rows.softmax(-1).amax(-1) >= 0.4
        expected = hard_label_loss(student, rows, chosen.float(), torch.ones_like(chosen))
    assert 0 < int(chosen.sum()) < chosen.numel() and not torch.equal(mixed, targets)
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert session.student.decode_head.conv_seg.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('tap', 'found'), [('backbone.tokens', r'\(2, 3, 1024\)'), ('backbone.pooled', r'\(2, 3, 4, 7\)')]
)
def test_taps_that_are_no_maps(tap: str, found: str) -> None:
    distiller = FeatureDistiller(student_tap=tap, key='distillers.pixels')
    session, batch = attached(distiller, CutMix(), [(SIZE, SIZE)] * 2)
    with pytest.raises(
        ConfigError,
        match=rf"student_view: CutMix mixes maps .* of the N = 2 unlabelled images, and the tap '{tap}' of "
        rf'distillers\.pixels gives {found}; use',
    ):
        session.student(*batch, mode='loss')


def options(weight: float) -> dict[str, Any]:
    return {
        'default_hooks.distill.unlabelled.weight': weight,
        'default_hooks.distill.unlabelled.dataloader.num_workers': 0,
        'default_hooks.distill.unlabelled.dataloader.dataset': dict(type='kd_plugins.PlainNoise', _delete_=True),
    }


def with_noise(name: str, work_dir: Path, weight: float, **settings: Any) -> tuple[Any, list[dict[str, float]]]:
    from kd_plugins.registry import DATASETS

    @DATASETS.register_module(force=True)
    class PlainNoise(torch.utils.data.Dataset):
        """Noise images without labels, of two sizes."""

        metainfo = {'classes': ('cell', 'membrane')}

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> dict[str, Any]:
            size = (64, 48) if index % 2 else (48, 64)
            image = torch.randint(0, 255, (3, *size), generator=torch.Generator().manual_seed(index))
            return dict(inputs=image.to(torch.uint8), data_samples=samples([size])[0])

    extra = options(weight) if 'unlabelled' in Path(name).name else {}
    runner, recorder = run(f'../unlabelled/{name}', work_dir, {**extra, **settings})
    return runner, recorder.losses


def test_weight_zero_is_the_plain_run(tmp_path: Path) -> None:
    plain, expected = with_noise('unet_isbi_five_view', tmp_path / 'plain', 0.0)
    off, losses = with_noise('unet_isbi_five_unlabelled', tmp_path / 'off', 0.0)
    assert_same(weights(plain.model), weights(off.model))
    assert [{name: step[name] for name in plain_step} for plain_step, step in zip(expected, losses)] == expected


def test_same_seed_same_result(tmp_path: Path) -> None:
    every = {'default_hooks.distill.distillers.pixels.select.score': 0.5}
    first, losses = with_noise('unet_isbi_five_unlabelled', tmp_path / 'first', 1.0, **every)
    again, same = with_noise('unet_isbi_five_unlabelled', tmp_path / 'again', 1.0, **every)
    assert_same(weights(first.model), weights(again.model))
    assert losses == same and all(step[KEY] > 0 for step in losses)
