from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses import LocalizationLoss, localization_loss, softmax_kl
from kd_plugins.registry import MODELS
from tests.losses.tester import LossTester


class TestLocalizationLoss(LossTester):
    shape = (3, 4, 5)
    temperature = 5.0

    def weight(self, count: int, like: Tensor) -> Tensor:
        return torch.tensor([0.5, 0.0, 2.0]).repeat(max(count // 3, 1))[:count].to(like)

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return localization_loss(student, teacher, self.weight(len(student), student), self.temperature)

    def reference(self, student: Tensor, teacher: Tensor) -> Tensor:
        total = 0.0
        for k, weight in enumerate([0.5, 0.0, 2.0]):
            for edge in range(4):
                p = torch.exp(teacher[k, edge] / self.temperature)
                q = torch.exp(student[k, edge] / self.temperature)
                p, q = p / p.sum(), q / q.sum()
                total = total + weight * self.temperature**2 * (p * (p / q).log()).sum() / 4
        return total / 2.5


class TestLocalizationLossAtTemperatureOne(TestLocalizationLoss):
    temperature = 1.0


class TestLocalizationLossWhenHot(TestLocalizationLoss):
    temperature = 20.0


@pytest.mark.parametrize('temperature', [0.5, 1.0, 10.0])
def test_edge_kl_is_torch_kl_div(temperature: float) -> None:
    student, teacher = torch.randn(2, 6, 4, 17, dtype=torch.float64)
    expected = F.kl_div(
        (student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1), reduction='none'
    ).sum(-1)
    torch.testing.assert_close(softmax_kl(student, teacher, temperature, dim=-1), expected * temperature**2)


def test_edge_kl_is_mmdet_kl_but_for_its_mean_over_bins() -> None:
    losses = pytest.importorskip('mmdet.models.losses')
    reg_max = 16
    student, teacher = torch.randn(2, 6, 4, reg_max + 1, dtype=torch.float64)
    reference = losses.KnowledgeDistillationKLDivLoss(reduction='none', T=10)
    expected = reference(student.reshape(-1, reg_max + 1), teacher.reshape(-1, reg_max + 1)).reshape(6, 4)
    # MMDetection averages over the reg_max + 1 bins, where the divergence is their sum.
    torch.testing.assert_close(softmax_kl(student, teacher, 10.0, dim=-1), expected * (reg_max + 1))


def test_ld_head_of_mmdet() -> None:
    """The sum over levels of the real ``LDHead``'s ``loss_ld`` with our divergence, its positives and its weights."""
    pytest.importorskip('mmdet.models')
    from mmdet.models.dense_heads import LDHead
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData

    torch.manual_seed(0)
    reg_max, temperature = 7, 10
    head = LDHead(
        num_classes=3,
        in_channels=4,
        stacked_convs=1,
        feat_channels=4,
        norm_cfg={'type': 'GN', 'num_groups': 2},
        reg_max=reg_max,
        anchor_generator={
            'type': 'AnchorGenerator',
            'ratios': [1.0],
            'octave_base_scale': 4,
            'scales_per_octave': 1,
            'strides': [8, 16],
        },
        loss_cls={'type': 'QualityFocalLoss', 'use_sigmoid': True, 'beta': 2.0, 'loss_weight': 1.0},
        loss_bbox={'type': 'GIoULoss', 'loss_weight': 2.0},
        loss_ld={'type': 'KnowledgeDistillationKLDivLoss', 'loss_weight': 1.0, 'T': temperature},
        train_cfg=ConfigDict(assigner={'type': 'ATSSAssigner', 'topk': 9}, allowed_border=-1, pos_weight=-1),
    )
    sizes = [(8, 8), (4, 4)]
    scores = [torch.randn(2, 3, *size) for size in sizes]
    student = [torch.randn(2, 4 * (reg_max + 1), *size) for size in sizes]
    teacher = [torch.randn(2, 4 * (reg_max + 1), *size) for size in sizes]
    boxes = torch.tensor([[4.0, 4.0, 30.0, 40.0], [20.0, 10.0, 60.0, 50.0]])
    truths = [
        InstanceData(bboxes=boxes, labels=torch.tensor([0, 2])),
        InstanceData(bboxes=boxes[:1], labels=torch.tensor([1])),
    ]
    metas = [{'img_shape': (64, 64), 'pad_shape': (64, 64)}] * 2
    reference = torch.stack(head.loss_by_feat(scores, student, truths, metas, teacher)['loss_ld']).sum()

    anchors, valid = head.get_anchors(sizes, metas, device='cpu')
    labels = head.get_targets(anchors, valid, truths, metas)[1]
    total, positives = torch.zeros(()), 0
    for level, label in enumerate(labels):
        rows = [x[level].permute(0, 2, 3, 1).flatten(0, 2) for x in (student, teacher, scores)]
        positive = ((label >= 0) & (label < 3)).flatten()
        s, t = (row[positive].unflatten(1, (4, reg_max + 1)) for row in rows[:2])
        weight = rows[2][positive].sigmoid().amax(1)
        total = total + (softmax_kl(s, t, temperature, dim=-1).mean(1) * weight).sum()
        positives += int(positive.sum())
    assert positives >= 8
    # LDHead takes the mean over the bins (the factor reg_max + 1) and does not divide by the sum of the weights.
    torch.testing.assert_close(total / (reg_max + 1), reference)


def test_no_weight_is_zero_with_a_graph() -> None:
    student = torch.randn(5, 4, 8, requires_grad=True)
    loss = localization_loss(student, torch.randn(5, 4, 8), torch.zeros(5), 5.0)
    loss.backward()
    assert loss == 0 and student.grad is not None and student.grad.abs().sum() == 0


def test_temperature_squared_keeps_the_gradient() -> None:
    # Small logits, where softmax is linear: the gradient must not depend on the temperature.
    student, teacher = 1e-3 * torch.randn(2, 3, 4, 8, dtype=torch.float64)
    grads = []
    for temperature in (1.0, 10.0):
        leaf = student.clone().requires_grad_()
        localization_loss(leaf, teacher, torch.ones(3), temperature).backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-2, atol=1e-9)


def test_module() -> None:
    module = MODELS.build({'type': 'kd_plugins.LocalizationLoss', 'temperature': 3.0})
    assert isinstance(module, LocalizationLoss)
    student, teacher, weight = torch.randn(2, 4, 5), torch.randn(2, 4, 5), torch.rand(2)
    assert module(student, teacher, weight) == localization_loss(student, teacher, weight, 3.0)
