"""MMEngine model for a segmentation network of MONAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...checkpoints import weights_of
from ...errors import ConfigError
from ...registry import MODELS
from ...structures import VolumeDataSample
from ...utils.argument_types import check_types
from ...utils.build import first_line
from ...utils.checks import check_choice
from ...utils.monai import build_part

MODES = ('tensor', 'loss', 'predict')
PREFIX = 'network.'


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights in a checkpoint under the names of the plain MONAI network.

    Args:
        checkpoint: Checkpoint from ``torch.load`` or :func:`~kd_plugins.checkpoints.load_checkpoint`.

    >>> list(network_weights({'state_dict': {'network.output_block.conv.conv.bias': torch.zeros(3)}}))
    ['output_block.conv.conv.bias']
    """
    weights = weights_of(checkpoint)
    return {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}


def unstack(output: Any, dims: int, key: str = 'model.network') -> list[Tensor]:
    """Return the logit maps of a network, the main map first, then the maps of its deep supervision.

    Args:
        output: A tensor of shape (N, C, ...), or (N, H, C, ...) with H heads, as DynUNet stacks them in training; or a
            list of maps, of which the first is the main map and no other has its size.
        dims: Number of dimensions of the network's input.
        key: Config key for the error sentence.

    Raises:
        ConfigError: If it is neither, so that the main map is unknown.

    >>> [tuple(level.shape) for level in unstack(torch.zeros(2, 3, 4, 8, 8, 8), 5)]
    [(2, 4, 8, 8, 8), (2, 4, 8, 8, 8), (2, 4, 8, 8, 8)]
    """
    if isinstance(output, Tensor) and output.ndim in (dims, dims + 1):
        return [output] if output.ndim == dims else list(output.unbind(1))
    listed = list(output) if isinstance(output, (list, tuple)) else []
    maps = all(isinstance(level, Tensor) and level.ndim == dims for level in listed)
    if listed and maps and all(level.shape != listed[0].shape for level in listed[1:]):
        return listed
    raise ConfigError(
        f'{key} gives {type(output).__name__} in which the main map of logits cannot be distinguished from the others; '
        'nearest: deep_supervision=False, or a network with one output'
    )


@MODELS.register_module()
class VolumetricSegmentor(BaseModel):
    """Segmentor of volumes with a network, a loss and an inferer of MONAI, each under its name in MONAI.

    The network is the attribute ``network``: taps read ``network.upsamples.0``, and the checkpoint holds its weights as
    ``network.*``, which :func:`network_weights` renames for MONAI. Two-dimensional networks work as well.

    Args:
        network: ``dict(type='DynUNet', ...)``, any class of ``monai.networks.nets`` that maps (N, C_in, ...) to logits
            (N, C, ...). With deep supervision it may return several maps, stacked or as a list (:func:`unstack`).
        loss: A class of ``monai.losses``, called with logits (N, C, ...) and labels (N, 1, ...). None takes
            ``dict(type='DiceCELoss', to_onehot_y=True, softmax=True)``: background included, both parts with weight 1.
        inferer: A class of ``monai.inferers`` for prediction, usually
            ``dict(type='SlidingWindowInferer', roi_size=..., overlap=..., mode='gaussian')``. None passes the whole
            volume to the network.
        deep_supervision: Arguments of MONAI's ``DeepSupervisionLoss``, which is used if the network returns several
            maps; None takes its default weights 1, 1/2, 1/4, ...
        data_preprocessor: Config of the preprocessor; None takes :class:`VolumePreprocessor`.
        init_cfg: See MMEngine's ``BaseModel``.

    Raises:
        ConfigError: If MONAI has no such class, or a class does not take these arguments.
    """

    def __init__(
        self,
        network: dict[str, Any],
        loss: dict[str, Any] | None = None,
        inferer: dict[str, Any] | None = None,
        deep_supervision: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        others = dict(deep_supervision=deep_supervision, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        check_types(VolumetricSegmentor, others, 'model')
        super().__init__(data_preprocessor or {'type': 'kd_plugins.VolumePreprocessor'}, init_cfg)
        self.network: nn.Module = build_part('network', network, 'model.network')
        if loss is None:
            loss = {'type': 'DiceCELoss', 'to_onehot_y': True, 'softmax': True}
        if inferer is None:
            inferer = {'type': 'SimpleInferer'}
        weights = {'type': 'DeepSupervisionLoss', **(deep_supervision or {})}
        self.loss_seg = build_part(
            'loss', weights, 'model.deep_supervision', loss=build_part('loss', loss, 'model.loss')
        )
        self.inferer = build_part('inferer', inferer, 'model.inferer')
        self.in_channels: int | None = network.get('in_channels')
        self.num_classes: int | None = network.get('out_channels', network.get('num_classes'))
        if self.num_classes == 1:
            name = 'out_channels' if 'out_channels' in network else 'num_classes'
            raise ConfigError(
                f'model.network.{name} is 1, and a prediction is the channel with the highest logit, so every voxel '
                f'would be background; nearest: {name}=2, for the background and one structure'
            )
        self._key = f'model.network ({network["type"]})'

    def forward(
        self,
        inputs: Tensor | Sequence[Tensor],
        data_samples: Sequence[VolumeDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Run the network.

        Args:
            inputs: Shape (N, C, ...); with ``mode='predict'`` also a list of volumes (C, ...) of different shapes.
            data_samples: One sample per volume; ``mode='loss'`` reads ``gt_sem_seg``.
            mode: ``'tensor'`` returns the network's own output, ``'loss'`` a dict with ``loss_seg`` of shape ``()``,
                ``'predict'`` the data samples with ``pred_sem_seg``.

        Raises:
            ConfigError: If the volumes or their labels do not fit the network.
        """
        check_choice('mode', mode, MODES)
        self._check_channels(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if not isinstance(inputs, Tensor):
            raise ConfigError(
                f"mode='{mode}' needs volumes of one shape; these have {[tuple(x.shape) for x in inputs]}"
            )
        output = self._run(inputs)
        if mode == 'tensor':
            return output
        return {'loss_seg': self._loss(unstack(output, inputs.ndim, self._key), data_samples)}

    def predict(
        self, inputs: Tensor | Sequence[Tensor], data_samples: Sequence[VolumeDataSample] | None = None
    ) -> list[VolumeDataSample]:
        """Return the data samples with the class of each voxel in ``pred_sem_seg.data``, int64 of shape (1, ...)."""
        samples = list(data_samples or [VolumeDataSample() for _ in inputs])

        def network(windows: Tensor) -> Tensor:
            return unstack(self._run(windows), windows.ndim, self._key)[0]

        for volume, sample in zip(inputs, samples):
            logits = self.inferer(volume[None], network)[0]
            metainfo = {'affine': sample.affine} if 'affine' in sample else {}
            sample.pred_sem_seg = BaseDataElement(metainfo=metainfo, data=logits.argmax(0, keepdim=True))
        return samples

    def _loss(self, levels: list[Tensor], data_samples: Sequence[VolumeDataSample] | None) -> Tensor:
        if not data_samples or any('gt_sem_seg' not in sample for sample in data_samples):
            raise ConfigError(
                "train_dataloader.dataset gives no labels; set data_prefix.seg, or 'label' in the json of ann_file"
            )
        labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])
        if labels.shape[2:] != levels[0].shape[2:]:
            raise ConfigError(
                f'{self._key} gives logits of {tuple(levels[0].shape[2:])} voxels for labels of '
                f'{tuple(labels.shape[2:])}; the first stride must be 1, and spatial transforms must have '
                "keys=['image', 'label']"
            )
        # Half-precision sums over a volume overflow.
        logits = [level.float() for level in levels]
        loss: Tensor = self.loss_seg(logits if len(logits) > 1 else logits[0], labels.float())
        return loss

    def _run(self, inputs: Tensor) -> Any:
        try:
            return self.network(inputs)
        except (RuntimeError, ValueError, AssertionError) as error:
            if not any(word in str(error) for word in ('size', 'shape', 'spatial')):
                raise
            raise ConfigError(
                f'{self._key} cannot take a patch of shape {tuple(inputs.shape[1:])}: {first_line(error)}; '
                'the sizes of crops and of model.inferer.roi_size must suit its strides or its img_size'
            ) from error

    def _check_channels(self, inputs: Tensor | Sequence[Tensor], samples: Sequence[VolumeDataSample] | None) -> None:
        channels = int(inputs[0].shape[0])
        if self.in_channels is not None and channels != self.in_channels:
            path = getattr(samples[0], 'img_path', None) if samples else None
            volume = f"'{path}'" if path else 'the first volume'
            raise ConfigError(f'model.network.in_channels is {self.in_channels}, but {volume} has {channels} channels')


__all__ = ['VolumetricSegmentor', 'network_weights', 'unstack']
