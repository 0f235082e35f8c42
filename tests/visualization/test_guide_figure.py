"""Figure of the objects that paint the instructive maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip('mmseg')
pytest.importorskip('matplotlib')
from mmengine.registry import MODELS

from kd_plugins.config.distillers import build_distiller
from kd_plugins.config.loading import load_config
from kd_plugins.errors import CheckpointError, ConfigError
from kd_plugins.testing import use_generated_data
from kd_plugins.visualization.guide_figure import draw_guide, guide_figure, guide_level, object_names
from tests.integration import unet_runs
from tests.visualization.trained import CONFIGS


def config() -> Any:
    loaded = load_config(
        str(CONFIGS / 'label_guided' / 'unet_isbi_lgd.py'),
        {**unet_runs.SMALL, 'default_hooks.distill.distillers.guide.num_heads': 2},
    )
    use_generated_data(loaded)
    loaded.train_dataloader.dataset.update(size=(64, 64), length=2)
    return loaded


def test_owners_of_the_cells() -> None:
    mixed = torch.tensor([[1.0, 0.0, 0.0], [0.1, 0.7, 0.2], [0.6, 0.3, 0.1]])
    cells = torch.tensor([[[1.0, 1.0, 1.0, 1.0]], [[1.0, 1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0, 0.0]]])
    level = guide_level(mixed, cells, torch.tensor([False, True, True]))
    # The second cell has two objects, which are averaged; the last one has none, and the image owns no cell alone.
    assert level.owner.tolist() == [[1, 1, 0, -1]]
    np.testing.assert_allclose(level.share, [[0.7, 0.5, 0.6, 0.0]], rtol=1e-6)


def test_names_and_panels() -> None:
    assert object_names([0, 2], {'keypoint_id2name': {0: 'nose', 2: 'ear'}}) == ['1 nose', '2 ear']
    level = guide_level(torch.eye(2), torch.ones(2, 4, 4), torch.tensor([False, True]))
    figure = draw_guide(np.zeros((16, 16)), {0: level, 2: level}, ['image', '1 cell'])
    assert len(figure.axes) == 6 and figure.axes[3].get_title() == 'level 2: objects'
    assert [text.get_text() for text in figure.axes[0].texts] == ['1']


def test_an_image_with_the_weights_of_a_checkpoint(tmp_path: Path) -> None:
    loaded = config()
    figure = guide_figure(loaded)
    assert len(figure.axes) == 3
    titles = [label.get_text() for label in figure.axes[2].get_yticklabels()]
    assert titles[0] == 'image' and len(titles) == 3
    torch.manual_seed(3)
    model = MODELS.build(loaded.model)
    name, distiller = build_distiller(loaded, 'LabelGuidedDistiller', None)
    distiller.check_models(model, model)
    distiller.initialize({'maps': [torch.zeros(1, 4, 8, 8)] * 5}, {})
    state = {f'members.{name}.{key}': value for key, value in distiller.state_dict().items()}
    saved = {'state_dict': model.state_dict(), 'meta': {}, 'distill': {'distillers': state}}
    torch.save(saved, tmp_path / 'epoch_1.pth')
    first, second = (guide_figure(config(), str(tmp_path / 'epoch_1.pth'), levels=[0]) for _ in range(2))
    shares = [np.asarray(one.axes[2].images[0].get_array()) for one in (first, second)]
    np.testing.assert_allclose(shares[0].sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(*shares)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'best.pth')
    with pytest.raises(CheckpointError, match='holds no heads of distillers.guide'):
        guide_figure(config(), str(tmp_path / 'best.pth'))
    with pytest.raises(ConfigError, match='--level: 1 does not exist; valid: 0 to 0'):
        guide_figure(config(), levels=[1])
