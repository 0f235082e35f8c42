"""A run of MMEngine's runner compared with a plain MONAI loop, and a resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner

pytest.importorskip('nibabel')
pytest.importorskip('monai')

import monai

from kd_plugins.checkpoints import load_checkpoint
from kd_plugins.models.volumetric import network_weights
from tests.volumes import BOTH, CLASSES, DYNUNET, LOAD, PACK, dataset_config, make_pair, monai_step

from .runs import Recorder

SIZE = (16, 16, 16)
FIXED = [
    {'type': 'NormalizeIntensityd', 'keys': 'image', 'channel_wise': True},
    {'type': 'SpatialPadd', 'keys': BOTH, 'spatial_size': SIZE},
    {'type': 'CenterSpatialCropd', 'keys': BOTH, 'roi_size': SIZE},
]
NAMES = [f'{index}.nii.gz' for index in range(4)]
EPOCHS = 3


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('volumes')
    for index, name in enumerate(NAMES):
        make_pair(folder, name, (14 + index, 16, 18))
    return folder


def make_runner(root: Path, work_dir: Path, *random: dict[str, Any], recorder: Any = None, **more: Any) -> Runner:
    steps = [LOAD, monai_step(*FIXED), *([monai_step(*random)] if random else []), PACK]
    test = [LOAD, monai_step({**FIXED[0]}), PACK]
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    epochs = more.pop('epochs', EPOCHS)
    hooks = {name: more.pop(name) for name in ('distill',) if name in more}
    return Runner(
        model=dict(
            type='kd_plugins.VolumetricSegmentor',
            network=DYNUNET,
            inferer=dict(type='SlidingWindowInferer', roi_size=SIZE, overlap=0.25),
        ),
        work_dir=str(work_dir),
        train_dataloader={
            **loader,
            'batch_size': 2,
            'dataset': dataset_config(root, steps, cache=True),
            'sampler': dict(type='DefaultSampler', shuffle=bool(random)),
        },
        val_dataloader={**loader, 'dataset': dataset_config(root, test, test_mode=True)},
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=EPOCHS),
        val_cfg={},
        val_evaluator=dict(type='kd_plugins.VolumetricMetric', output_dir=str(work_dir / 'out')),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2)),
        default_hooks=dict(epoch_seed=dict(type='kd_plugins.EpochSeedHook'), **hooks),
        custom_hooks=[recorder] if recorder else [],
        randomness=dict(seed=3),
        default_scope='mmengine',
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}',
        log_level='ERROR',
        **more,
    )


def plain_monai(root: Path, network: torch.nn.Module) -> tuple[list[float], float]:
    """Train and evaluate as MONAI's tutorials do; return the losses and the mean Dice."""
    from monai import transforms
    from monai.data import DataLoader, Dataset, decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.metrics import DiceMetric

    reading = [transforms.LoadImaged(keys=BOTH), transforms.EnsureChannelFirstd(keys=BOTH)]
    normalise = transforms.NormalizeIntensityd(keys='image', channel_wise=True)
    crops = [
        transforms.SpatialPadd(keys=BOTH, spatial_size=SIZE),
        transforms.CenterSpatialCropd(keys=BOTH, roi_size=SIZE),
    ]
    files = [{'image': str(root / 'images' / name), 'label': str(root / 'labels' / name)} for name in NAMES]
    train = DataLoader(Dataset(files, transforms.Compose([*reading, normalise, *crops])), batch_size=2)
    test = DataLoader(Dataset(files, transforms.Compose([*reading, normalise])), batch_size=1)
    criterion, optimizer = DiceCELoss(to_onehot_y=True, softmax=True), torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(EPOCHS):
        network.train()
        for batch in train:
            optimizer.zero_grad()
            loss = criterion(network(batch['image']), batch['label'])
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    network.eval()
    dice = DiceMetric(include_background=False)
    post = transforms.AsDiscrete(argmax=True, to_onehot=len(CLASSES))
    target = transforms.AsDiscrete(to_onehot=len(CLASSES))
    with torch.no_grad():
        for batch in test:
            logits = sliding_window_inference(batch['image'], SIZE, 1, network, overlap=0.25)
            predictions, labels = decollate_batch(logits), decollate_batch(batch['label'])
            dice([post(entry) for entry in predictions], [target(entry) for entry in labels])
    return losses, float(dice.aggregate())


def test_a_run_equals_a_plain_monai_loop(root: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    runner = make_runner(root, tmp_path / 'run', recorder=recorder)
    network = monai.networks.nets.DynUNet(**{key: value for key, value in DYNUNET.items() if key != 'type'})
    network.load_state_dict(network_weights(runner.model.state_dict()), strict=True)
    losses, dice = plain_monai(root, network)
    runner.train()
    assert [entry['loss_seg'] for entry in recorder.losses] == pytest.approx(losses, rel=1e-5)
    assert losses[-1] < losses[0]
    for name, value in network_weights(runner.model.state_dict()).items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=1e-4, atol=1e-6)
    scores = runner.message_hub.get_scalar('val/volume/dice').current()
    assert scores == pytest.approx(dice, abs=1e-5) and 0 < dice < 1
    assert sorted(path.name for path in (tmp_path / 'run' / 'out').iterdir()) == [*NAMES, 'scores.json']
    # The checkpoint on disk is the plain network's, key by key.
    checkpoint = load_checkpoint(tmp_path / 'run' / f'epoch_{EPOCHS}.pth')
    network.load_state_dict(network_weights(checkpoint), strict=True)


def test_a_resumed_run_draws_the_same_crops(root: Path, tmp_path: Path) -> None:
    random = (
        {'type': 'RandFlipd', 'keys': BOTH, 'prob': 0.5, 'spatial_axis': 0},
        {'type': 'RandGaussianNoised', 'keys': 'image', 'prob': 0.7},
    )
    whole, first, second = Recorder(), Recorder(), Recorder()
    make_runner(root, tmp_path / 'whole', *random, recorder=whole, epochs=2).train()
    make_runner(root, tmp_path / 'cut', *random, recorder=first, epochs=1).train()
    make_runner(root, tmp_path / 'cut', *random, recorder=second, epochs=2, resume=True).train()
    losses = [entry['loss_seg'] for entry in first.losses + second.losses]
    assert losses == [entry['loss_seg'] for entry in whole.losses]
    assert len({round(loss, 6) for loss in losses}) == len(losses)


def test_a_distilled_run_leaves_the_plain_networks_checkpoint(root: Path, tmp_path: Path) -> None:
    levels = ['network.input_block', 'network.downsamples.0']
    dsd = dict(
        type='kd_plugins.DualSelfDistiller', encoder=levels, decoder=['network.bottleneck', 'network.upsamples.0']
    )
    hook = dict(type='kd_plugins.DistillHook', distillers=dict(dsd=dict(dsd, num_classes=3)))
    recorder = Recorder()
    runner = make_runner(root, tmp_path / 'dsd', recorder=recorder, epochs=1, distill=hook)
    before = network_weights({name: value.clone() for name, value in runner.model.state_dict().items()})
    runner.train()
    names = {'loss_encoder_seg', 'loss_decoder_seg', 'loss_encoder_kl', 'loss_decoder_kl'}
    assert set(recorder.losses[0]) == {'loss', 'loss_seg', *(f'distill.dsd.{name}' for name in names)}
    assert all(value > 0 for value in recorder.losses[0].values())
    checkpoint = load_checkpoint(tmp_path / 'dsd' / 'epoch_1.pth')
    assert list(network_weights(checkpoint)) == list(before)
    network = monai.networks.nets.DynUNet(**{key: value for key, value in DYNUNET.items() if key != 'type'})
    network.load_state_dict(network_weights(checkpoint), strict=True)
    assert not torch.equal(network.bottleneck.conv1.conv.weight, before['bottleneck.conv1.conv.weight'])
