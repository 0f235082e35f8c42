"""Figure of the levels of a network: the sample that is drawn, and the window of a volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmseg')
pytest.importorskip('matplotlib')
pytest.importorskip('cv2')
import cv2
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement

from kd_plugins.config.distillers import build_distiller
from kd_plugins.config.loading import load_config
from kd_plugins.structures import VolumeDataSample
from kd_plugins.visualization import draw_levels, level_panels, level_predictions
from kd_plugins.visualization.level_figure import IGNORED, level_figure, network_input
from tests.integration import unet_runs
from tests.visualization.trained import CONFIGS

FOLDER = CONFIGS / 'dual_self'


def test_what_is_drawn(tmp_path: Path, slices: Path) -> None:
    unet_runs.run('unet_isbi_dsd', tmp_path / 'run')
    config = load_config(str(FOLDER / 'unet_isbi_dsd.py'), unet_runs.SMALL)
    figure = level_figure(config, str(tmp_path / 'run' / 'epoch_2.pth'), 'val_dataloader', 1)
    assert len(figure.axes) == 3 + 4 + 4
    truth = cv2.imread(str(slices / 'label' / '1.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), (truth == 0).astype(int))
    assert [axes.get_title().split('\n')[0] for axes in figure.axes[2:4]] == ['output', 'encoder 1']


def test_a_volume_is_cut_to_the_inferers_window() -> None:
    pytest.importorskip('monai')
    config = load_config(str(FOLDER / 'dynunet_hippocampus_dsd.py'), {'model.network.filters': [2, 2, 2, 2, 2]})
    model = MODELS.build(config.model).eval()
    labels = torch.zeros(1, 35, 50, 20, dtype=torch.long)
    labels[:, 28:31, 40:46, 4:9] = 2
    # On disk the first axis runs the other way.
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[0, 3] = 34
    sample = VolumeDataSample(metainfo=dict(img_path='a.nii.gz', affine=np.eye(4)))
    sample.gt_sem_seg = BaseDataElement(metainfo=dict(affine=flipped), data=labels.flip(1))
    image = torch.randn(1, 35, 50, 20)
    inputs, truth = network_input(model, {'inputs': [image], 'data_samples': [sample]}, 255)
    assert inputs.shape == (1, 1, 32, 32, 32) and truth.shape == (32, 32, 32)
    # The whole object is inside, at its place, and what lies outside of the volume does not count.
    assert truth[28 - 3 : 31 - 3, 40 - 18 : 46 - 18, 4:9].eq(2).all() and int((truth == 2).sum()) == 3 * 6 * 5
    assert inputs[0, :, :, :, :20].equal(image[:, 3:35, 18:50]) and (truth[..., 20:] == IGNORED).all()
    name, distiller = build_distiller(config, 'DualSelfDistiller', None)
    model(inputs)
    heads = build_distiller(config, 'DualSelfDistiller', None)[1]
    with pytest.raises(Exception, match='holds no heads'):
        level_predictions(model, heads, inputs, (name, {}, 'best.pth'))
    state = {f'members.{name}.{key}': value for key, value in heads.state_dict().items()}
    actual = level_predictions(model, distiller, inputs, (name, {'distill': {'distillers': state}}, 'epoch_1.pth'))
    figure = draw_levels(inputs[0, 0].numpy(), level_panels(actual, truth.numpy(), 3))
    assert len(figure.axes) == 3 * (1 + 1 + 1 + 4 + 4)
