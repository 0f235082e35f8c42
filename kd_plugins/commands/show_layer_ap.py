"""Measure the AP of every decoder layer: ``kd_plugins show layer-ap CONFIG CHECKPOINT``.

The last row is the result of ``kd_plugins test``. A method that teaches earlier layers by the last one has to raise the
rows above it.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process

from ..diagnostics.layer_ap import layer_ap
from ..errors import ConfigError
from ..runner.run_log import without_nan
from ..utils.cli import one_sentence, parse
from ..utils.files import write_atomically
from ..utils.tables import print_table
from .run_config import add_run_options
from .test import build_tested_runner, read_tested_config

COLUMNS = ('AP', 'AP50', 'AP75', 'AP80', 'AP85', 'AP90', 'AP75-90')


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins show layer-ap', description='Measure the AP of every decoder layer of a DETR on the test data'
    )
    built.add_argument('config', help='config file of a DETR, plain or with FDR, or package::path')
    built.add_argument('checkpoint', help='checkpoint file, or a URL')
    built.add_argument('--out', help='write AP at every IoU and all metrics of each layer to this JSON file')
    add_run_options(built, 'the log')
    return built


def table(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each layer.

    >>> table([{'layer': 1, 'AP': 0.5, 'AP50': 0.75}])
    [['1', '0.500', '0.750', '-', '-', '-', '-', '-']]
    """
    return [
        [str(result['layer']), *(f'{result[name]:.3f}' if name in result else '-' for name in COLUMNS)]
        for result in results
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    args = parse(parser(), arguments)
    with one_sentence():
        if args.out is not None and not args.out.endswith('.json'):
            raise ConfigError(f"--out: '{args.out}' does not end in '.json'; nearest: '{args.out}.json'")
        config = read_tested_config(args)
        results = layer_ap(build_tested_runner(config, args))
        if is_main_process():
            if args.out is not None:
                content = {'config': args.config, 'checkpoint': args.checkpoint, 'layers': without_nan(results)}
                write_atomically(Path(args.out), (json.dumps(content, indent=1) + '\n').encode())
            print_table('AP of each decoder layer on the test data', ['layer', *COLUMNS], table(results))
    return 0
