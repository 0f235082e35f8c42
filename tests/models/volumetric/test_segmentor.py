"""Segmentor compared with plain MONAI: losses, steps, predictions, checkpoints, error sentences."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip('monai')

import monai
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement

from kd_plugins.errors import ConfigError
from kd_plugins.models.volumetric import VolumetricSegmentor, network_weights
from kd_plugins.structures import VolumeDataSample
from kd_plugins.taps import TapSet
from tests.volumes import DYNUNET

SIZE = (16, 16, 16)
NETWORKS: dict[str, dict[str, Any]] = {
    'DynUNet': DYNUNET,
    'UNet': dict(spatial_dims=3, in_channels=1, out_channels=3, channels=(4, 8), strides=(2,)),
    'BasicUNet': dict(spatial_dims=3, in_channels=1, out_channels=3, features=(4, 4, 4, 4, 4, 4)),
    'VNet': dict(spatial_dims=2, in_channels=1, out_channels=3),
    'UNETR': dict(
        in_channels=1, out_channels=3, img_size=SIZE, feature_size=4, hidden_size=12, mlp_dim=12, num_heads=2
    ),
    'SwinUNETR': dict(
        in_channels=1, out_channels=3, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), spatial_dims=2
    ),
}


def make(network: dict[str, Any] = DYNUNET, seed: int = 0, **arguments: Any) -> VolumetricSegmentor:
    torch.manual_seed(seed)
    return MODELS.build({'type': 'kd_plugins.VolumetricSegmentor', 'network': network, **arguments})


def plain(network: dict[str, Any] = DYNUNET, seed: int = 0) -> nn.Module:
    arguments = {key: value for key, value in network.items() if key != 'type'}
    torch.manual_seed(seed)
    return getattr(monai.networks.nets, network['type'])(**arguments)


def make_batch(count: int = 2, size: tuple[int, ...] = SIZE, channels: int = 1) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(7)
    samples = []
    for index in range(count):
        sample = VolumeDataSample(metainfo=dict(img_path=f'{index}.nii.gz', affine=np.diag([1.0, 2.0, 3.0, 1.0])))
        sample.gt_sem_seg = BaseDataElement(data=torch.randint(0, 3, (1, *size), generator=generator))
        samples.append(sample)
    return {
        'inputs': [torch.randn(channels, *size, generator=generator) for _ in range(count)],
        'data_samples': samples,
    }


def stacked(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    labels = torch.stack([sample.gt_sem_seg.data for sample in batch['data_samples']])
    return torch.stack(batch['inputs']), labels


@pytest.mark.parametrize('name', list(NETWORKS))
def test_networks_by_name_train_and_predict(name: str) -> None:
    if name in ('UNETR', 'SwinUNETR'):
        pytest.importorskip('einops')
    size = {'SwinUNETR': (64, 64), 'VNet': (32, 32), 'BasicUNet': (32, 32, 32)}.get(name, SIZE)
    network = {'type': name, **NETWORKS[name]}
    model, batch = make(network), make_batch(1, size)
    assert type(model.network).__name__ == name
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    before = {key: value.clone() for key, value in model.network.named_parameters()}
    losses = model.train_step(copy.deepcopy(batch), wrapper)
    assert losses['loss_seg'].isfinite() and set(losses) == {'loss', 'loss_seg'}
    assert sum(not torch.equal(value, before[key]) for key, value in model.network.named_parameters()) > len(before) / 2
    model.eval()
    prediction = model.val_step(batch)[0].pred_sem_seg.data
    assert prediction.shape == (1, *size) and prediction.dtype == torch.int64


@pytest.mark.parametrize('loss', [None, {'type': 'GeneralizedDiceLoss', 'to_onehot_y': True, 'softmax': True}])
def test_loss_and_steps_equal_a_plain_monai_loop(loss: dict[str, Any] | None) -> None:
    from monai.losses import DiceCELoss, GeneralizedDiceLoss

    kind = DiceCELoss if loss is None else GeneralizedDiceLoss
    model, network, criterion = make(loss=loss), plain(), kind(to_onehot_y=True, softmax=True)
    for trained, expected in zip(model.network.parameters(), network.parameters()):
        assert torch.equal(trained, expected)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    batch = make_batch()
    inputs, labels = stacked(batch)
    for _ in range(3):
        actual = model.train_step(copy.deepcopy(batch), wrapper)['loss_seg']
        optimizer.zero_grad()
        expected = criterion(network(inputs), labels)
        expected.backward()
        optimizer.step()
        assert torch.equal(actual.detach(), expected.detach())
    for trained, expected in zip(model.network.parameters(), network.parameters()):
        assert torch.equal(trained, expected)


@pytest.mark.parametrize(('weights', 'expected'), [(None, [1, 0.5, 0.25]), ({'weights': [1.0, 0.2, 0.0]}, [1, 0.2, 0])])
def test_deep_supervision_of_dynunet(weights: dict[str, Any] | None, expected: list[float]) -> None:
    from monai.losses import DiceCELoss

    deeper = {'kernel_size': (3,) * 4, 'strides': (1, 2, 2, 2), 'upsample_kernel_size': (2,) * 3}
    network = {**DYNUNET, **deeper, 'filters': (4, 4, 8, 8), 'deep_supervision': True, 'deep_supr_num': 2}
    model, batch = make(network, deep_supervision=weights), make_batch()
    inputs, labels = stacked(batch)
    actual = model(inputs, batch['data_samples'], mode='loss')['loss_seg']
    maps = plain(network)(inputs).unbind(1)
    assert len(maps) == 3
    criterion = DiceCELoss(to_onehot_y=True, softmax=True)
    torch.testing.assert_close(actual, sum(w * criterion(level, labels) for w, level in zip(expected, maps)))
    # In training mode as well, the main map alone is predicted.
    model.network.train()
    prediction = model(inputs, batch['data_samples'], mode='predict')[0].pred_sem_seg.data
    assert prediction.shape == (1, *SIZE)


def test_prediction_is_monais_sliding_window() -> None:
    from monai.inferers import sliding_window_inference

    window = dict(roi_size=SIZE, sw_batch_size=3, overlap=0.5, mode='gaussian')
    model, batch = make(inferer={'type': 'SlidingWindowInferer', **window}), make_batch(1, (20, 33, 14))
    model.eval()
    network = plain().eval()
    with torch.no_grad():
        expected = sliding_window_inference(batch['inputs'][0][None], predictor=network, **window).argmax(1)
        sample = model.test_step(batch)[0]
    assert torch.equal(sample.pred_sem_seg.data, expected)
    assert len(expected.unique()) > 1
    assert np.array_equal(sample.pred_sem_seg.affine, sample.affine)


def test_volumes_of_different_shapes_are_predicted_in_one_batch() -> None:
    model = make(inferer={'type': 'SlidingWindowInferer', 'roi_size': SIZE}).eval()
    first, second = make_batch(1, (20, 16, 16)), make_batch(1, (16, 18, 24))
    both = {key: [*first[key], *second[key]] for key in first}
    together = [sample.pred_sem_seg.data for sample in model.test_step(copy.deepcopy(both))]
    alone = [model.test_step(copy.deepcopy(entry))[0].pred_sem_seg.data for entry in (first, second)]
    assert all(torch.equal(one, other) for one, other in zip(together, alone))


def test_two_dimensional_networks_work() -> None:
    network = {**DYNUNET, 'spatial_dims': 2}
    model, batch = make(network), make_batch(2, (16, 24))
    inputs = torch.stack(batch['inputs'])
    assert model(inputs, batch['data_samples'], mode='loss')['loss_seg'].isfinite()
    assert model(inputs).shape == (2, 3, 16, 24)


def test_the_checkpoint_loads_into_the_plain_network() -> None:
    model, network = make(seed=1), plain(seed=2)
    state = model.state_dict()
    assert all(key.startswith('network.') for key in state)
    wrapped = {'state_dict': {f'module.{key}': value for key, value in state.items()}, 'meta': {}}
    network.load_state_dict(network_weights(wrapped), strict=True)
    inputs = torch.randn(1, 1, *SIZE)
    assert torch.equal(network(inputs), model(inputs))


def test_taps_read_the_networks_levels() -> None:
    model = make()
    paths = {name: f'network.{name}' for name in ('input_block', 'downsamples.*', 'bottleneck', 'upsamples.*')}
    taps = TapSet(model, paths)
    taps.start()
    model(torch.randn(1, 1, *SIZE))
    assert taps.shapes() == {
        'network.input_block': [(1, 4, 16, 16, 16)],
        'network.downsamples.*': [(1, 8, 8, 8, 8)],
        'network.bottleneck': [(1, 8, 4, 4, 4)],
        'network.upsamples.*': [(1, 8, 8, 8, 8), (1, 4, 16, 16, 16)],
    }
    taps.remove()


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        (
            {'network': {**DYNUNET, 'type': 'DynUnett'}},
            "model.network.type: monai.networks.nets has no 'DynUnett'",
        ),
        (
            {'network': {**DYNUNET, 'filter': (4, 8)}},
            "model.network: DynUNet has no argument 'filter'; nearest",
        ),
        ({'network': {'type': 'DynUNet'}}, 'model.network: DynUNet missing .*spatial_dims'),
        ({'network': {**DYNUNET, 'strides': (1, 2)}}, 'model.network: DynUNet cannot be built: length of kernel_size'),
        ({'network': 'DynUNet'}, "model.network is 'DynUNet'; give a dict with 'type'"),
        (
            {'network': {**DYNUNET, 'out_channels': 1}},
            r'model.network.out_channels is 1, .* so every voxel would be background; nearest: out_channels=2',
        ),
        ({'loss': ''}, "model.loss is ''; give a dict with 'type'"),
        ({'inferer': {}}, "model.inferer is {}; give a dict with 'type'"),
        ({'loss': {'type': 'DiceCELos'}}, "model.loss.type: monai.losses has no 'DiceCELos'; nearest: 'DiceCELoss'"),
        ({'loss': {'type': 'DiceCELoss', 'soft_max': 1}}, "model.loss: DiceCELoss has no argument 'soft_max'; nearest"),
        (
            {'inferer': {'type': 'SlidingWindowInferer', 'overlapp': 1}},
            "model.inferer: .* no argument 'overlapp'",
        ),
        ({'deep_supervision': {'mode': 'exp'}}, "model.deep_supervision: .* no argument 'mode'"),
    ],
)
def test_wrong_configs_are_one_sentence(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        VolumetricSegmentor(**{'network': DYNUNET, **config})
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('batch', 'sentence'),
    [
        (make_batch(channels=2), r"model.network.in_channels is 1, but '0.nii.gz' has 2 channels"),
        (make_batch(size=(16, 14, 16)), r'model.network \(DynUNet\) cannot take a patch of shape \(1, 16, 14, 16\): '),
        (
            {key: [*make_batch(1)[key], *make_batch(1, (16, 16, 8))[key]] for key in ('inputs', 'data_samples')},
            r"'0.nii.gz' has shape \(1, 16, 16, 8\) where '0.nii.gz' has \(1, 16, 16, 16\); crop both",
        ),
        ({'inputs': make_batch(1)['inputs'], 'data_samples': [VolumeDataSample()]}, 'gives no labels; set data_prefix'),
        (
            {'inputs': make_batch(1)['inputs'], 'data_samples': make_batch(1, (8, 16, 16))['data_samples']},
            r'gives logits of \(16, 16, 16\) voxels for labels of \(8, 16, 16\)',
        ),
    ],
    ids=['channels', 'patch', 'two shapes', 'no labels', 'other grid'],
)
def test_batches_that_do_not_fit_are_one_sentence(batch: dict[str, Any], sentence: str) -> None:
    model = make()
    with pytest.raises(ConfigError, match=sentence) as caught:
        model.train_step(copy.deepcopy(batch), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert '\n' not in str(caught.value)


def test_several_equal_maps_are_refused_and_shrinking_ones_are_not() -> None:
    from kd_plugins.models.volumetric.segmentor import unstack

    large, small = torch.zeros(1, 3, 8, 8, 8), torch.zeros(1, 3, 4, 4, 4)
    assert unstack([large, small], 5)[0] is large
    with pytest.raises(ConfigError, match='the main map of logits cannot be distinguished'):
        unstack([large, large], 5)
    with pytest.raises(ConfigError, match='cannot be distinguished'):
        unstack({'out': large}, 5)
