"""Export a trained D-FINE or RT-DETR to ONNX: ``kd_plugins export CONFIG CHECKPOINT OUT.onnx``.

The model is fused as ``kd_plugins deploy`` does. The file is compared with MMDetection's prediction before it is
written, if onnxruntime is installed.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from ..config.data_checks import dataset_classes
from ..config.loading import load_config
from ..deployment.fusion import fuse
from ..deployment.graph import DetectorGraph
from ..deployment.images import image_size
from ..deployment.onnx_file import OPSET, TOLERANCE, compare, export, session
from ..errors import KDPluginsError
from ..utils.cli import note, one_sentence, parse
from ..utils.files import write_atomically
from ..visualization.loading import build_trained
from .deploy import add_model_arguments, check_out, report


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins export',
        description='Export a trained D-FINE or RT-DETR to ONNX, and check the file with onnxruntime',
    )
    add_model_arguments(built, 'OUT.onnx')
    return built


def class_names(config: Config, meta: dict[str, Any]) -> Sequence[str] | None:
    """Return the names of the classes that a checkpoint was trained with, else those of the config's data."""
    named = (meta.get('dataset_meta') or {}).get('classes')
    if named is None and config.get('test_dataloader'):
        named = dataset_classes(config, 'test_dataloader')
    return named


def main(arguments: Sequence[str] | None = None) -> int:
    """Export, check, write and report; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        check_out(args, '.onnx')
        config = load_config(args.config, args.cfg_options)
        height, width = image_size(config, args.size)
        model, meta = build_trained(config, args.checkpoint, 'cpu', check=DetectorGraph)
        fusion = fuse(model, height, width)
        data = export(DetectorGraph(fusion.model), height, width, class_names(config, meta))
        runtime = session(data)
        agreements = compare(runtime, fusion.model, height, width) if runtime is not None else {}
        for count, agreement in agreements.items():
            if not agreement.holds:
                raise KDPluginsError(
                    f'onnxruntime and torch differ by {agreement} on {count} images, more than {TOLERANCE:.0e}; '
                    f"'{args.out}' was not written"
                )
        write_atomically(args.out, data)
        report(fusion, height, width)
        for count, agreement in agreements.items():
            print(f'batch of {count}: onnxruntime and torch differ by {agreement}')
        if runtime is None:
            note(
                "the file was not checked, because onnxruntime (extra 'export') is not installed; kd_plugins doctor "
                'prints the command'
            )
        print(f'written: {args.out}, opset {OPSET}, {len(data) / 1e6:.1f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
