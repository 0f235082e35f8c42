"""HGNetV2, the backbone of D-FINE and of RT-DETR's larger models, in its sizes B0 to B6."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import ConfigError
from ...registry import MODELS
from ...utils.checks import check_choice, check_flag, is_integer
from .file_weights import FileWeightsBackbone
from .hgnet_layers import Stage, StageSpec, Stem
from .weights import fit_weights, read_weights

KERNEL_SIZES = (3, 3, 5, 5)
LIGHT = (False, False, True, True)
STRIDES = (4, 8, 16, 32)
HEAD = 'head.'
"""Start of the names of timm's classifier and of PaddleDetection's in files of weights."""


class Arch(NamedTuple):
    """Size of a network.

    Attributes:
        stem: Channels inside the stem and at its end.
        mid_channels: Channels of the layers of each stage.
        out_channels: Channels of the output of each stage.
        num_blocks: Blocks of each stage.
        num_layers: Layers of each block.
        use_lab: Whether the released weights have learnable affine blocks.
    """

    stem: tuple[int, int]
    mid_channels: tuple[int, ...]
    out_channels: tuple[int, ...]
    num_blocks: tuple[int, ...]
    num_layers: int
    use_lab: bool


ARCHS = {
    'B0': Arch((16, 16), (16, 32, 64, 128), (64, 256, 512, 1024), (1, 1, 2, 1), 3, True),
    'B1': Arch((24, 32), (32, 48, 96, 192), (64, 256, 512, 1024), (1, 1, 2, 1), 3, True),
    'B2': Arch((24, 32), (32, 64, 128, 256), (96, 384, 768, 1536), (1, 1, 3, 1), 4, True),
    'B3': Arch((24, 32), (32, 64, 128, 256), (128, 512, 1024, 2048), (1, 1, 3, 1), 5, True),
    'B4': Arch((32, 48), (48, 96, 192, 384), (128, 512, 1024, 2048), (1, 1, 3, 1), 6, False),
    'B5': Arch((32, 64), (64, 128, 256, 512), (128, 512, 1024, 2048), (1, 2, 5, 2), 6, False),
    'B6': Arch((48, 96), (96, 192, 384, 768), (192, 512, 1024, 2048), (2, 3, 6, 3), 6, False),
}


def stage_specs(arch: Arch) -> list[StageSpec]:
    """Return the size of each stage.

    >>> stage_specs(ARCHS['B0'])[1]
    StageSpec(in_channels=64, mid_channels=32, out_channels=256, num_blocks=1, num_layers=3, kernel_size=3, \
light=False, downsample=True)
    """
    inputs = (arch.stem[1], *arch.out_channels)
    sizes = zip(inputs, arch.mid_channels, arch.out_channels, arch.num_blocks, KERNEL_SIZES, LIGHT)
    return [
        StageSpec(first, mid, last, blocks, arch.num_layers, kernel, light, downsample=index > 0)
        for index, (first, mid, last, blocks, kernel, light) in enumerate(sizes)
    ]


def check_out_indices(out_indices: Sequence[int], count: int) -> tuple[int, ...]:
    """Return ascending indices of stages.

    Raises:
        ConfigError: If they are something else.
    """
    listed = isinstance(out_indices, Sequence) and not isinstance(out_indices, str)
    indices = tuple(out_indices) if listed and all(map(is_integer, out_indices)) else ()
    if not indices or list(indices) != sorted(set(indices)) or not 0 <= indices[0] <= indices[-1] < count:
        raise ConfigError(
            f'backbone.out_indices is {out_indices!r}; expected ascending indices from 0 to {count - 1}, such as '
            '(1, 2, 3)'
        )
    return indices


@MODELS.register_module()
class HGNetV2(FileWeightsBackbone):
    """HGNetV2 with the names of D-FINE's files, of PaddleDetection's ``PPHGNetV2_B*_stage1.pth`` and of timm.

    Nothing is ever downloaded: weights come from a file, when MMEngine calls ``init_weights`` before a training. A
    model that gets a checkpoint (``load_from``, resume, a teacher, prediction) does not need the file.

    Args:
        arch: ``'B0'`` to ``'B6'``. D-FINE N and S use B0, M uses B2, L uses B4 and X uses B5.
        out_indices: Stages whose features are returned, 0 to 3, ascending; they have strides 4, 8, 16 and 32. Later
            stages are not built.
        use_lab: Whether learnable affine blocks follow the activations; ``None`` for True in B0 to B3, as in the
            released weights.
        frozen_stem: Whether the stem gets no gradient, and its BatchNorm layers keep their statistics.
        frozen_norm: Whether all BatchNorm layers get no gradient and keep their statistics.
        norm_eval: Whether all BatchNorm layers keep their statistics.
        weights: ``None`` for random weights, the path of a ``.pth`` or ``.safetensors`` file, or ``'package:NAME'``
            with the import name of an installed package that holds one. A classifier in the file is left out.
        init_cfg: MMEngine's initialisation; ``weights`` replace its result. By default, PyTorch's.

    Attributes:
        out_channels: Channels of each feature map.
        strides: Stride of each feature map.

    Raises:
        ConfigError: If an argument is not valid.
    """

    def __init__(
        self,
        arch: str = 'B0',
        out_indices: Sequence[int] = (1, 2, 3),
        use_lab: bool | None = None,
        frozen_stem: bool = False,
        frozen_norm: bool = False,
        norm_eval: bool = False,
        weights: str | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(weights, init_cfg)
        self.arch = check_choice('backbone.arch', arch, list(ARCHS))
        self.model = f'HGNetV2-{arch}'
        size = ARCHS[arch]
        use_lab = size.use_lab if use_lab is None else check_flag('backbone.use_lab', use_lab)
        self.frozen_stem = check_flag('backbone.frozen_stem', frozen_stem)
        self.frozen_norm = check_flag('backbone.frozen_norm', frozen_norm)
        self.norm_eval = check_flag('backbone.norm_eval', norm_eval)
        specs = stage_specs(size)
        self.out_indices = check_out_indices(out_indices, len(specs))
        self.out_channels: tuple[int, ...] = tuple(specs[index].out_channels for index in self.out_indices)
        self.strides: tuple[int, ...] = tuple(STRIDES[index] for index in self.out_indices)
        self.stem = Stem(*size.stem, use_lab)
        self.stages = nn.ModuleList(Stage(spec, use_lab) for spec in specs[: self.out_indices[-1] + 1])
        self._freeze()

    def load_file(self, path: Path, key: str) -> None:
        """Load the weights of a file of D-FINE's or PaddleDetection's backbone, or of timm.

        Args:
            path: The file.
            key: Config key, for the errors.

        Raises:
            CheckpointError: If the file is damaged or does not fit the model.
        """
        state = read_weights(path, key)
        known = {name for name in state if name.startswith((HEAD, *self._later_stages()))}
        own = self.state_dict()
        self.load_state_dict(fit_weights(own, state, known, f"{key}: '{path}'", self.model), strict=False)

    def _later_stages(self) -> list[str]:
        return [f'stages.{index}.' for index in range(len(self.stages), len(STRIDES))]

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def _freeze(self) -> None:
        # Looked up each time: a layer may have been replaced, as by a BatchNorm that is synchronised between ranks.
        frozen = [*([self.stem] if self.frozen_stem else []), *(self._norms() if self.frozen_norm else [])]
        for module in frozen:
            module.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> HGNetV2:
        """Set the mode of all layers except the frozen ones and, with ``norm_eval``, the BatchNorm layers."""
        super().train(mode)
        self._freeze()
        if self.norm_eval:
            for norm in self._norms():
                norm.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps.

        Args:
            images: RGB images of shape (N, 3, H, W), normalised by the data preprocessor.

        Returns:
            One tensor of shape (N, C, H / stride, W / stride) for each of ``out_indices``.

        Raises:
            CheckpointError: In training, if the file of ``weights`` is missing and no checkpoint was loaded.
        """
        self.check_weights()
        features, maps = self.stem(images), []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in self.out_indices:
                maps.append(features)
        return tuple(maps)


__all__ = ['ARCHS', 'HGNetV2', 'check_out_indices', 'stage_specs']
