"""Base class of backbones whose pretrained weights come from a file or an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.model.weight_init import update_init_info

from ...errors import CheckpointError, ConfigError
from .weights import WeightsNotFoundError, weights_file


class FileWeightsBackbone(BaseModule):
    """A backbone that loads the file of ``weights`` when it is initialised, unless a checkpoint brings the weights.

    A subclass defines :meth:`load_file`, and ``model``, the name of its network, for messages.

    Args:
        weights: ``None`` for random weights, the path of a ``.pth`` or ``.safetensors`` file, or ``'package:NAME'``.
        init_cfg: MMEngine's initialisation; ``weights`` replace its result.

    Attributes:
        lacks_weights: Sentence about the missing file of ``weights``, empty where they are loaded or not asked for.

    Raises:
        ConfigError: If ``weights`` is no string.
    """

    model: str

    def __init__(
        self, weights: str | None = None, init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(init_cfg)
        if weights is not None and not isinstance(weights, str):
            raise ConfigError(f"backbone.weights is {weights!r}; valid: None, 'path/to/file.pth', 'package:NAME'")
        self.weights = weights
        self.lacks_weights = ''

    def load_file(self, path: Path, key: str) -> None:
        """Load the weights of a file.

        Args:
            path: The file.
            key: Config key, for the errors.

        Raises:
            CheckpointError: If the file is damaged or does not fit the network.
        """
        raise NotImplementedError

    def init_weights(self) -> None:
        """Initialise as MMEngine does, then load ``weights``; a second call changes nothing.

        If the file does not exist, a checkpoint may still bring the weights. Otherwise, the first training step fails.

        Raises:
            CheckpointError: If the file is damaged or does not fit the model.
        """
        was_initialised = self.is_init
        super().init_weights()
        if self.weights is None or was_initialised:
            return
        try:
            path = weights_file(self.weights)
        except WeightsNotFoundError as error:
            self.lacks_weights = str(error)
            return
        self.load_weights(path)
        if hasattr(self, '_params_init_info'):
            update_init_info(self, init_info=f'loaded from {self.weights}')
        print_log(f'{type(self).__name__}: {self.model} has the weights of {self.weights}', 'current')

    def load_weights(self, weights: str | Path, key: str = 'backbone.weights') -> None:
        """Load the weights of a file.

        Args:
            weights: The file, or ``'package:NAME'``.
            key: Config key, for the errors.

        Raises:
            CheckpointError: If the file is missing, damaged or does not fit the model.
        """
        self.load_file(weights_file(str(weights), key), key)
        self.lacks_weights = ''

    def check_weights(self) -> None:
        """Refuse to train a network whose file of weights is missing.

        Raises:
            CheckpointError: In training, if the file of ``weights`` is missing and no checkpoint was loaded.
        """
        if self.training and self.lacks_weights:
            raise CheckpointError(self.lacks_weights)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if any(f'{prefix}{name}' in state_dict for name, _ in self.named_parameters()):
            self.lacks_weights = ''


__all__ = ['FileWeightsBackbone']
