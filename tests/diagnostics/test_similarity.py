"""DisWOT's similarities against the README's formulas by hand, and the evidence of a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from kd_plugins.diagnostics.similarity import (
    evidence,
    find_classifier,
    random_scores,
    relation_similarity,
    score,
    semantic_similarity,
)
from kd_plugins.errors import ConfigError


def rows_of(matrix: Tensor) -> Tensor:
    """Divide every row by its norm."""
    return torch.stack([row / row.norm() for row in matrix])


def test_relations_by_their_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(3, 4, 2, 2, generator=generator).double()
    teacher = torch.randn(3, 6, 5, 5, generator=generator).double()
    total = 0.0
    grams = []
    for maps in (student, teacher):
        gram = torch.empty(3, 3).double()
        for first in range(3):
            for second in range(3):
                gram[first, second] = (maps[first] * maps[second]).sum()
        grams.append(rows_of(gram))
    total = float(((grams[0] - grams[1]) ** 2).sum() / 9)
    assert float(relation_similarity(student, teacher)) == pytest.approx(-total, rel=1e-9)
    assert float(relation_similarity(student, 5 * student)) == pytest.approx(0)


@pytest.mark.parametrize('kernel', [(), (3, 3)])
def test_semantics_by_their_definition(kernel: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(5, 4, *kernel, generator=generator).double() for _ in range(2))
    total = 0.0
    for mine, theirs in zip(student, teacher):
        first, second = (rows_of(one.reshape(4, -1) @ one.reshape(4, -1).T) for one in (mine, theirs))
        total += float((first - second).square().sum())
    assert float(semantic_similarity(student, teacher)) == pytest.approx(-total / 20, rel=1e-9)
    with pytest.raises(ValueError, match=r'\(5, 4\) and \(5, 3\) classes and channels'):
        semantic_similarity(student, teacher[:, :3])


class Classifier(BaseModel):
    """A backbone that gives two maps, and a layer of class scores."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 1))
        self.head = nn.Module()
        self.head.final_layer = nn.Linear(width, 2)

    def init_weights(self) -> None:
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        scores = self.head.final_layer(self.backbone(inputs).mean((2, 3)))
        return {'loss_ce': nn.functional.cross_entropy(scores, data_samples), 'acc': scores.mean()}


INPUTS = {
    'inputs': torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2)),
    'data_samples': torch.tensor([0, 1, 1, 0]),
}
PATHS = dict.fromkeys(('features', 'classifier', 'teacher_features', 'teacher_classifier'))


def test_the_evidence_is_one_backward_pass() -> None:
    torch.manual_seed(0)
    model = Classifier()
    shown = evidence(model, INPUTS, 'student')
    evidence(model, INPUTS, 'student')  # gradients do not add up
    assert shown.layer == 'head.final_layer'
    torch.testing.assert_close(shown.features, model.backbone(INPUTS['inputs']))
    probabilities = model.head.final_layer(shown.features.mean((2, 3))).softmax(1)
    error = probabilities - nn.functional.one_hot(INPUTS['data_samples'], 2)
    torch.testing.assert_close(shown.gradient, error.T @ shown.features.mean((2, 3)) / 4)
    torch.testing.assert_close(evidence(model, INPUTS, 'student').gradient, shown.gradient)


def test_scores_of_random_weights() -> None:
    state = torch.get_rng_state()
    scores = random_scores([built(4), built(4)], INPUTS, [0, 1], PATHS)
    assert torch.equal(state, torch.get_rng_state())
    assert scores == random_scores([built(4), built(4)], INPUTS, [0, 1], PATHS) and scores[0] != scores[1]
    assert all(one.total == one.relation + (one.semantic or 0) < 0 for one in scores)
    (wider,) = random_scores([built(4), built(6)], INPUTS, [0], PATHS)
    assert wider.semantic is None and wider.total is None and wider.relation < 0
    assert '(2, 4) and (2, 6)' in wider.reason


def built(width: int) -> Any:
    def build() -> Classifier:
        model = Classifier(width)
        model.init_weights()
        return model

    return build


def test_sentences() -> None:
    model = Classifier()
    with pytest.raises(ConfigError, match="--classifier: 'head.last' names no module of the teacher"):
        evidence(model, INPUTS, 'teacher', classifier='head.last')
    with pytest.raises(ConfigError, match='--features: .* has no backbone'):
        evidence(nn.Module(), INPUTS, 'teacher')
    with pytest.raises(ConfigError, match='has no known layer of class scores'):
        find_classifier(model.backbone, 'student')
    one = evidence(model, {name: value[:1] for name, value in INPUTS.items()}, 'student')
    with pytest.raises(ConfigError, match='batch_size is 1'):
        score(one, one)
