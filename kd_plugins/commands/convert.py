"""Convert released weights of D-FINE or RT-DETR into a checkpoint: ``kd_plugins convert SOURCE --out FILE``.

SOURCE is a ``.pth`` file of D-FINE, DEIM, RT-DETR, RT-DETRv2 or RT-DETRv4, a ``.safetensors`` file or folder of
transformers, or a file of the backbone HGNetV2 or ResNet-vd. The checkpoint goes into ``load_from`` of a config.
"""

from __future__ import annotations

import copy
import io
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..config.data_checks import dataset_classes, read_class_names
from ..config.loading import load_config, register_scope
from ..config.reading import merge_options, read_config
from ..conversion.classes import OBJECTS365, class_count
from ..conversion.conversion import DEIM, Conversion, convert
from ..conversion.sizes import SIZES, describe, measure, shipped, size_name
from ..conversion.source import Source, read_source
from ..errors import ConfigError
from ..utils.cli import SEED, add_cfg_options, note, one_sentence, parse
from ..utils.files import write_atomically

SHOWN = 8
"""Largest number of class names in a line."""


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins convert',
        description='Convert released weights of D-FINE or RT-DETR, or of a backbone, for a config',
    )
    built.add_argument('source', metavar='SOURCE', help='.pth or .safetensors file, or a folder with model.safetensors')
    target = built.add_mutually_exclusive_group()
    target.add_argument('--config', help='config of the detector, or package::path; its classes are matched by name')
    target.add_argument('--size', choices=list(SIZES), help='a shipped size, with the classes of the file')
    built.add_argument('--out', metavar='FILE', type=Path, required=True, help='checkpoint to write; ends in .pth')
    built.add_argument(
        '--source-classes', nargs='+', metavar='NAME',
        help='class names of SOURCE in their order, or a text file with one a line; default: told by their number',
    )  # fmt: skip
    built.add_argument(
        '--activation', choices=['relu', 'silu'],
        help='that SOURCE was trained with: silu for DEIM and RT-DETRv4; default: told by names in SOURCE, else relu',
    )  # fmt: skip
    built.add_argument('--seed', type=SEED, default=0, help='seed of rows for new classes (default: %(default)s)')
    add_cfg_options(built)
    return built


def read_target(args: Namespace, source: Source) -> Config:
    """Return the config to convert for: the one that was named, or the shipped one of the file's size.

    Raises:
        ConfigError: If the file has no size of the release and nothing was named.
    """
    if args.config is not None:
        config = load_config(args.config, args.cfg_options)
        if config.get('model') is None:
            raise ConfigError(f"--config: '{args.config}' has no 'model'; inherit one that has")
        return config
    size = args.size or size_name(measure(source.state))
    if size is None:
        kind = 'a backbone' if source.layout == 'backbone' else describe(measure(source.state))
        raise ConfigError(f"SOURCE: '{source.path}' is {kind}; give --config or --size")
    config = read_config(shipped(size))
    config.default_scope = 'mmdet'
    count = class_count(source.state)
    # Row 0 of Objects365's raw ids is unused.
    config.model.bbox_head.num_classes = (OBJECTS365 if count == OBJECTS365 + 1 else count) or 80
    merge_options(config, args.cfg_options, '--cfg-options')
    register_scope('mmdet')
    return config


def build_detector(config: Config) -> nn.Module:
    """Return the detector of a config."""
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'):
        model: nn.Module = MODELS.build(copy.deepcopy(config.model))
    return model


def report(source: Source, conversion: Conversion) -> list[str]:
    """Return what was converted and what was initialised, line by line.

    Args:
        source: The file.
        conversion: Its conversion.
    """
    rows = conversion.rows
    if rows is None:
        return [f'{len(conversion.state)} tensors of the backbone; the rest of the detector keeps its initialisation']
    lines = [f'{describe(measure(source.state))}, {len(conversion.state)} tensors, layout: {source.layout}']
    if rows.unchanged:
        return [*lines, f'classes: all {rows.total} rows in their order']
    kept = len(rows.sources) - len(rows.new)
    lines.append(f'classes: {kept} of {len(rows.sources)} taken from the {rows.total} rows of the file')
    if rows.new:
        names = conversion.classes
        shown = ', '.join(repr(names[index]) if names else str(index) for index in rows.new[:SHOWN])
        more = ', ...' if len(rows.new) > SHOWN else ''
        lines.append(f'initialised: {len(rows.new)} classes ({shown}{more}) in {len(conversion.initialised)} tensors:')
        lines += [f'  {name}' for name in conversion.initialised]
    return lines


def save(conversion: Conversion, source: Source, out: Path) -> None:
    """Write a checkpoint in MMEngine's format; it is either complete or absent.

    Args:
        conversion: The weights.
        source: The file that they come from.
        out: The checkpoint.
    """
    meta: dict[str, Any] = {'converted_from': source.path.name}
    if conversion.classes is not None:
        meta['dataset_meta'] = {'classes': tuple(conversion.classes)}
    buffer = io.BytesIO()
    torch.save({'meta': meta, 'state_dict': conversion.state}, buffer)
    write_atomically(out, buffer.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert and print a report; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        if args.out.suffix != '.pth':
            raise ConfigError(f"--out: '{args.out}' does not end in '.pth'; nearest: '{args.out.with_suffix('.pth')}'")
        source = read_source(args.source)
        if args.out.resolve() == source.path.resolve():
            raise ConfigError(f"--out: '{args.out}' is SOURCE; name another file")
        config = read_target(args, source)
        names = None if args.source_classes is None else listed(args.source_classes)
        classes = dataset_classes(config) if config.get('train_dataloader') else None
        conversion = convert(source, build_detector(config), classes, names, args.activation, args.seed)
        save(conversion, source, args.out)
        for line in report(source, conversion):
            print(line)
        if source.layout != 'backbone' and args.activation is None and source.activation is None:
            note(
                'SOURCE is taken for D-FINE; a file of DEIM or RT-DETRv4 needs --activation silu, and --config with '
                f"SiLU, such as '{DEIM}'"
            )
        print(f'written: {args.out}')
    return 0


def listed(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names, or those of a text file with one name a line."""
    return read_class_names(names[0] if len(names) == 1 else names)


if __name__ == '__main__':
    sys.exit(main())
