"""Trained models and data samples of a config, for pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from ..config.data_checks import check_data
from ..config.hook_entries import distill_entry
from ..config.loading import load_config
from ..config.reading import read_changed
from ..distillers.base import BaseDistiller
from ..errors import ConfigError
from ..runner.weights import load_trained
from ..teachers.collection import resolve_source, teacher_configs


def check_keys(config: Config, *keys: str) -> None:
    """Refuse a config that lacks a part.

    Raises:
        ConfigError: Naming the first missing key.
    """
    missing = next((key for key in keys if config.get(key) is None), None)
    if missing is not None:
        raise ConfigError(f"config: '{config.filename}' has no '{missing}'; inherit one that has")


def build_trained(
    config: Config,
    checkpoint: str,
    device: str,
    model: Any = None,
    check: Callable[[Any], Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Return a model in eval mode with the weights of a checkpoint, and the checkpoint's ``meta``.

    Args:
        config: The resolved config. The model keeps it as ``cfg``, where OpenMMLab's inference looks for it.
        checkpoint: File or URL.
        device: Device to run on.
        model: Config of the model; by default ``config.model``.
        check: Function that refuses a model before its weights are loaded.

    Raises:
        ConfigError: If the config has no model, or the device cannot be used.
        CheckpointError: If the checkpoint does not belong to the model.
    """
    check_keys(config, 'model')
    init_default_scope(config.get('default_scope') or 'mmengine')
    built = MODELS.build(model or config.model)
    if check is not None:
        check(built)
    meta = load_trained(built, checkpoint, device)
    built.cfg = config
    return built, meta


def teacher_model(config: Config, distiller: BaseDistiller) -> Any:
    """Return the config of the network that teaches a distiller, None where it is one of the config's own model.

    Args:
        config: The resolved config with a DistillHook.
        distiller: The distiller.

    Raises:
        ConfigError: If the distiller's ``source`` names no teacher, or the teacher's config cannot be read.
    """
    entries = teacher_configs(distill_entry(config) or {})
    teachers = {key.removeprefix('teachers.'): entry for key, entry in entries.items()}
    name = resolve_source(distiller.source, distiller.key, teachers)
    entry = {} if name is None else teachers[name]
    source, options = entry.get('config'), entry.get('cfg_options') or {}
    if source is None:
        return None
    read = load_config(source, options) if isinstance(source, str) else read_changed(source, options, str(name))
    check_keys(read, 'model')
    return read.model


def read_sample(config: Config, loader: str, index: int) -> tuple[Any, Any]:
    """Return one sample as its pipeline packs it, and the data set.

    Args:
        config: The resolved config.
        loader: ``'test_dataloader'`` or another one.
        index: Index of the sample.

    Raises:
        ConfigError: If the data or the sample does not exist.
    """
    check_keys(config, loader)
    check_data(config, (loader,))
    init_default_scope(config.get('default_scope') or 'mmengine')
    dataset: Any = DATASETS.build(config[loader].dataset)
    if not 0 <= index < len(dataset):
        raise ConfigError(f'--index: {index} does not exist; valid: 0 to {len(dataset) - 1}')
    return dataset[index], dataset
