"""Teacher that is any backbone, with its own normalisation, such as a foundation model."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..checkpoints import LoadReport, load_checkpoint, load_weights, prefixes, weights_of, with_versions
from ..config.loading import walk
from ..config.pretrained import pretrained_entries
from ..errors import CheckpointError, ConfigError, nearest
from ..ops.foreign_images import fit_images, renormalise
from ..ops.normalisation import WHITE, Normalisation, read_normalisation
from ..registry import MODELS, TASK_UTILS
from ..tap_paths import TokenGrid
from ..taps import match_modules
from ..utils.argument_types import shown
from ..utils.build import build, first_line
from ..utils.checks import check_choice, check_integer
from ..utils.node_ranks import first_on_node_first
from ..utils.urls import download, is_url
from .fixed import FixedTeacher
from .student_copy import ModelBuilder

ORDERS = ('rgb', 'bgr')
MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet, in the order R, G, B."""
STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet."""
LEADING = 8
"""Largest number of tokens before those of the patches: a class token and registers."""


class BackboneNetwork(nn.Module):
    """A backbone, and the tokens of one of its layers as a map.

    Args:
        backbone: The network; its argument is a batch of images.
        tokens: Path of a layer in it whose output is tokens (N, L, C), or None.
        patch: Side of a patch in pixels.
        key: Config key of the teacher, for error sentences.

    Raises:
        ConfigError: If ``tokens`` does not name one layer.
    """

    def __init__(self, backbone: nn.Module, tokens: str | None, patch: int, key: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.key = key
        self.patch = patch
        self._recorded: list[Any] = []
        if tokens is None:
            return
        matches = match_modules(backbone, tokens, f'{key}.tokens', 'teacher')
        if len(matches) > 1:
            raise ConfigError(
                f"{key}.tokens is '{tokens}', which names {len(matches)} layers; name one, such as '{matches[-1][0]}'"
            )
        self.tokens = nn.Identity()
        matches[0][1].register_forward_hook(self._record)

    def _record(self, module: nn.Module, args: Any, output: Any) -> None:
        self._recorded.append(output)

    def forward(self, images: Tensor) -> None:
        """Run the backbone; taps keep what is needed of it.

        Args:
            images: (N, C, H, W), normalised for this network.

        Raises:
            ConfigError: If the images have a size that the network refuses, or the tokens do not fit the grid.
        """
        self._recorded.clear()
        try:
            self.backbone(images)
        except torch.cuda.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f'{self.key}.model refuses images of shape {tuple(images.shape)}: {first_line(error)}; give patch=16 '
                'for a transformer with patches of 16 pixels, and options=dict(dynamic_img_size=True) in a TimmBackbone'
            ) from error
        if self._recorded:
            self.tokens(self._map_of(self._recorded.pop(), images))
            self._recorded.clear()

    def _map_of(self, tokens: Any, images: Tensor) -> Tensor:
        rows, columns = (side // self.patch for side in images.shape[2:])
        shape = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
        cells = rows * columns
        if not isinstance(tokens, Tensor) or tokens.ndim != 3 or not cells <= tokens.shape[1] <= cells + LEADING:
            raise ConfigError(
                f'{self.key}.tokens: the layer gives {shape} where (N, L, C) with L from {cells} to {cells + LEADING} '
                f'is needed for images of shape {tuple(images.shape)}; check {self.key}.patch, which is {self.patch}'
            )
        grid = TokenGrid(tokens.shape[1] - cells, (rows, columns))
        return grid.map_of(tokens).contiguous()


@TASK_UTILS.register_module()
class BackboneTeacher(FixedTeacher):
    """Any backbone as teacher of features: it has no OpenMMLab config, no head and its own normalisation.

    The batch of the student is un-normalised, normalised for this network, made smaller by ``pool`` and brought to a
    multiple of ``patch``. Padding is 0 before the first layer, as it is for the student. Taps name layers of the
    network under ``backbone``; the path ``backbone`` itself gives what the network returns. The network is in no
    checkpoint of the run.

    Args:
        model: Config of the network: ``dict(type='kd_plugins.TimmBackbone', ...)``, or any other registered module
            that takes a batch of images.
        checkpoint: Path or URL of its weights, read with ``weights_only=True``. A TimmBackbone takes timm's names, a
            ``.safetensors`` file, or ``'package:NAME'``. ``None`` takes the ``weights`` of the TimmBackbone; without
            them the weights are random, drawn from ``seed``, which is a control.
        mean: Mean of each channel from 0 to 255, in the order R, G, B; the default is ImageNet's.
        std: Standard deviation of each channel, likewise.
        channel_order: Order of the channels of this network's input, ``'rgb'`` or ``'bgr'``.
        student_order: The same for the student's input; ``'auto'`` is R, G, B where its ``data_preprocessor`` swaps
            channels and B, G, R where it does not.
        pool: Factor by which the images become smaller, by averaging.
        patch: Side of a patch in pixels: 16 for ViT/16, 14 for DINOv2. The images are brought to a multiple of it.
        tokens: Path of a layer whose output is tokens (N, L, C). The tap ``tokens`` gives them as a map whose grid
            follows the size of the images, without the tokens before those of the patches.
        prefix: Beginning of the names in ``checkpoint``, such as ``'backbone.'`` in the checkpoint of a detector;
            names without it are not read.
        strict: Whether all keys must match; ``False`` logs those that do not. A TimmBackbone without ``prefix`` takes
            ``True`` alone.
        seed: Seed of the initial weights.
        fold: Whether BatchNorm layers are folded, see :class:`~kd_plugins.teachers.frozen.FrozenTeacher`.
        key: See :class:`~kd_plugins.teachers.base.BaseTeacher`.

    Raises:
        ConfigError: If a setting does not fit.
        CheckpointError: If the weights are missing, damaged or do not fit.
    """

    predicts = False

    def __init__(
        self,
        model: dict[str, Any],
        checkpoint: str | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        channel_order: str = 'rgb',
        student_order: str = 'auto',
        pool: int = 1,
        patch: int = 1,
        tokens: str | None = None,
        prefix: str = '',
        strict: bool = True,
        seed: int = 0,
        fold: bool = True,
        key: str = 'teacher',
    ) -> None:
        super().__init__(checkpoint, strict, seed, fold, 'tensor', key)
        if not isinstance(model, Mapping) or 'type' not in model:
            raise ConfigError(
                f"{key}.model is {shown(model)}; give a dict, such as dict(type='kd_plugins.TimmBackbone', "
                "model='vit_base_patch16_dinov3')"
            )
        self.model_config = dict(model)
        self.normalisation = _own_normalisation(mean, std, channel_order, key)
        self.student_order = check_choice(f'{key}.student_order', student_order, ('auto', *ORDERS))
        self.pool = check_integer(f'{key}.pool', pool, 1, 'valid: 1, 2', 16)
        self.patch = check_integer(f'{key}.patch', patch, 1, 'valid: 1, 14, 16', 256)
        self.tokens, self.prefix = tokens, prefix
        if tokens is not None and patch == 1:
            raise ConfigError(f'{key}.tokens is {shown(tokens)}, whose grid needs the side of a patch; set patch=16')
        if checkpoint is None and (prefix or not strict):
            name = 'prefix' if prefix else 'strict'
            raise ConfigError(
                f'{key}.{name} reads names in checkpoint, which is None; give checkpoint, or leave it out'
            )
        self._check_sources()
        self._given: Normalisation | None = None

    def _check_sources(self) -> None:
        """Refuse weights that would be replaced, or read by a loader that executes what a file holds."""
        for path, node in walk(self.model_config, f'{self.key}.model'):
            loads = pretrained_entries(node.get('init_cfg'))
            name = 'init_cfg' if loads else next((one for one in ('pretrained', 'weights') if node.get(one)), None)
            if name is None or (name == 'weights' and self.checkpoint is None):
                continue
            advice = f'give the file as {self.key}.checkpoint alone'
            raise ConfigError(f'{path}.{name} is {shown(node[name])}, and weights have one place; {advice}')

    def prepare(
        self, student: nn.Module, iteration: int = 0, epoch: int = 0, build_model: ModelBuilder | None = None
    ) -> None:
        """Build the network, load its weights and read the student's normalisation."""
        # The hook calls this with forked generators, so the seed does not change the numbers of the run.
        torch.manual_seed(self.seed)
        backbone = build(MODELS, copy.deepcopy(self.model_config), nn.Module, f'{self.key}.model')
        self._load(backbone)
        preprocessor = getattr(student, 'data_preprocessor', None)
        self._given = read_normalisation(preprocessor, self.student_order, self.key)
        self._take(BackboneNetwork(backbone, self.tokens, self.patch, self.key), student)

    def _load(self, backbone: nn.Module) -> None:
        key = f'{self.key}.checkpoint'
        loader: Callable[[str, str], None] | None = getattr(backbone, 'load_weights', None)
        if self.checkpoint is None:
            initialise = getattr(backbone, 'init_weights', None)
            if callable(initialise):
                initialise()
            if sentence := getattr(backbone, 'lacks_weights', ''):
                raise CheckpointError(f'{self.key}.model: {sentence}')
            if self.model_config.get('weights'):
                self.report = LoadReport(loaded=list(backbone.state_dict()))
            else:
                message = f'{key} is None: the weights of the teacher are random, which is a control'
                print_log(message, logger='current', level=logging.WARNING)
            return
        with first_on_node_first() if is_url(self.checkpoint) else nullcontext():
            if callable(loader) and not self.prefix:
                if not self.strict:
                    raise ConfigError(
                        f'{self.key}.strict is False, and {type(backbone).__name__} needs all of its names in the '
                        "file; leave strict out, or give the prefix of the names in a detector's checkpoint"
                    )
                path = str(download(self.checkpoint, key)[0]) if is_url(self.checkpoint) else self.checkpoint
                loader(path, key)
                # The loader refuses a file that lacks one of its names.
                self.report = LoadReport(loaded=list(backbone.state_dict()))
                return
            checkpoint = load_checkpoint(self.checkpoint, key=key)
        weights = weights_of(checkpoint)
        own = {name.removeprefix(self.prefix): one for name, one in weights.items() if name.startswith(self.prefix)}
        own = with_versions(own, weights, self.prefix)
        if not own:
            raise CheckpointError(
                f"{self.key}.prefix is '{self.prefix}', with which no name in '{self.checkpoint}' begins; "
                f'{nearest(self.prefix, prefixes(weights))}'
            )
        self.report = load_weights(backbone, {'state_dict': own}, self.checkpoint, self.strict, key=key)
        self._warn()

    def _forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if any(module.training for module in self._modules):
            self.model.eval()
        named = {name: value for name, value in kwargs.items() if name != 'mode'}
        values = {**dict(zip(('inputs', 'data_samples'), args)), **named}
        inputs = values.get('inputs', next(iter(values.values()), None))
        samples = values.get('data_samples', next(iter(list(values.values())[1:]), None))
        self.model(self.images_of(inputs, samples))

    def images_of(self, inputs: Any, samples: Sequence[Any] | None) -> Tensor:
        """Return the input of the network for a batch of the student.

        Args:
            inputs: Preprocessed images of the student, (N, C, H, W).
            samples: Their data samples, which give the size of each picture without padding.

        Raises:
            ConfigError: If the student's input is no batch of images with the channels of this network.
        """
        assert self._given is not None
        channels = {len(self.normalisation.mean), len(self._given.mean)} - {1} or {1}
        if not isinstance(inputs, Tensor) or inputs.ndim != 4 or inputs.shape[1] not in channels or len(channels) > 1:
            found = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ConfigError(
                f"{self.key}: the student's input is {found} with {len(self._given.mean)} means, and a BackboneTeacher "
                f'with {len(self.normalisation.mean)} means needs images (N, {len(self.normalisation.mean)}, H, W); '
                'nearest: a FrozenTeacher'
            )
        structures = samples if isinstance(samples, Sequence) and not isinstance(samples, (str, Tensor)) else None
        images = renormalise(inputs, structures, self._given, self.normalisation)
        return fit_images(images, self.pool, self.patch)


def _own_normalisation(mean: Sequence[float], std: Sequence[float], order: str, key: str) -> Normalisation:
    """Return the normalisation of the teacher's input."""
    tensors = []
    for name, numbers in (('mean', mean), ('std', std)):
        valid = isinstance(numbers, Sequence) and not isinstance(numbers, str) and len(numbers) == 3
        valid = valid and all(isinstance(one, (int, float)) and 0 <= one <= WHITE for one in numbers)
        if not valid or (name == 'std' and min(numbers) < 1.0):
            example = MEAN if name == 'mean' else STD
            raise ConfigError(
                f'{key}.{name} is {shown(numbers)}; give three numbers in units of 0 to 255, such as {list(example)} '
                '(255 times those of timm)'
            )
        tensors.append(torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1))
    bgr = check_choice(f'{key}.channel_order', order, ORDERS) == 'bgr'
    # Means are given as R, G, B; Normalisation keeps them in the order of the input.
    mean_of, std_of = (one.flip(0) if bgr else one for one in tensors)
    return Normalisation(mean_of, std_of, bgr)
