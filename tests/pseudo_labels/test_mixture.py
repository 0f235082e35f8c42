"""Mixtures of two normal distributions: the fit of scikit-learn, padding, classes at once and thresholds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_plugins.pseudo_labels.mixture import fit_mixture, log_densities, upper_mode


def scores_of(seed: int, count: int) -> Tensor:
    """Return scores of which about a third are high."""
    generator = np.random.default_rng(seed)
    low, high = generator.beta(2, 12, count), generator.beta(12, 3, count)
    return torch.as_tensor(np.where(generator.random(count) < 0.33, high, low))


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    width = max(len(row) for row in rows)
    scores, valid = (
        torch.full((len(rows), width), 7.0, dtype=torch.float64),
        torch.zeros(len(rows), width, dtype=torch.bool),
    )
    for index, row in enumerate(rows):
        scores[index, : len(row)], valid[index, : len(row)] = row, True
    return scores, valid


@pytest.mark.parametrize(('seed', 'count'), [(0, 100), (1, 60), (2, 12), (3, 4), (4, 100)])
def test_equals_scikit_learn(seed: int, count: int) -> None:
    mixture = pytest.importorskip('sklearn.mixture')
    values = scores_of(seed, count)
    column = values.numpy()[:, None]
    reference = mixture.GaussianMixture(
        2,
        weights_init=np.array([0.5, 0.5]),
        means_init=np.array([[column.min()], [column.max()]]),
        precisions_init=np.ones((2, 1, 1)),
    ).fit(column)
    scores, valid = padded([values])
    fitted = fit_mixture(scores, valid)
    for mine, theirs in zip(fitted, (reference.weights_, reference.means_[:, 0], reference.covariances_[:, 0, 0])):
        np.testing.assert_allclose(mine[0].numpy(), theirs, rtol=1e-9)
    density = log_densities(scores, fitted).logsumexp(dim=-1)[0].numpy()
    np.testing.assert_allclose(density, reference.score_samples(column), rtol=1e-8)
    members = reference.predict(column) == reference.means_[:, 0].argmax()
    expected = column[members, 0][reference.score_samples(column)[members].argmax()]
    assert float(upper_mode(scores, valid, fitted)) == expected


def test_classes_do_not_change_each_other() -> None:
    rows = [scores_of(seed, count) for seed, count in ((0, 100), (1, 17), (2, 4), (5, 50))]
    together = fit_mixture(*padded(rows))
    thresholds = upper_mode(*padded(rows), together)
    for index, row in enumerate(rows):
        scores, valid = padded([row])
        alone = fit_mixture(scores, valid)
        for mine, theirs in zip(together, alone):
            torch.testing.assert_close(mine[index], theirs[0], rtol=1e-9, atol=0)
        assert thresholds[index] == upper_mode(scores, valid, alone)[0]


def test_the_threshold_lies_between_the_components() -> None:
    rows = [scores_of(seed, 100) for seed in range(5)]
    thresholds = upper_mode(*padded(rows), fit_mixture(*padded(rows)))
    assert ((thresholds > 0.5) & (thresholds < 1)).all()


def test_equal_scores_have_no_upper_component() -> None:
    scores, valid = padded([torch.full((6,), 0.4, dtype=torch.float64)])
    fitted = fit_mixture(scores, valid)
    assert all(field.isfinite().all() for field in fitted)
    threshold = float(upper_mode(scores, valid, fitted))
    assert threshold == 0.4 or np.isnan(threshold)
