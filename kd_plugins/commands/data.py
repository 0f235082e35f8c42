"""Fetch a public data set that the shipped configs read: ``kd_plugins data bccd``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from ..datasets.sources import SOURCES, DataSet, Source, fetch, find_finished
from ..utils.cli import note, one_sentence, parse

INTERRUPTED = 130


def parser() -> ArgumentParser:
    """Return the parser."""
    built = ArgumentParser(
        prog='kd_plugins data', description='Fetch a public data set, verify it and lay it out for the shipped configs'
    )
    built.add_argument('name', metavar='NAME', choices=list(SOURCES), help=f'data set: {", ".join(SOURCES)}')
    built.add_argument('out', metavar='OUT', type=Path, nargs='?', help='folder of the data set (default: data/NAME)')
    origin = built.add_mutually_exclusive_group()
    origin.add_argument('--url', help="address of a mirror that serves the source's archive")
    origin.add_argument('--archive', metavar='FILE', type=Path, help='the archive, downloaded by other means')
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch one data set; return the exit status."""
    args = parse(parser(), arguments)
    source = SOURCES[args.name]
    out = args.out or Path('data', source.name)
    with one_sentence():
        try:
            data = find_finished(source, out)
            if data is None:
                print(f'{source.name}: {source.about}')
                print(f'{source.name}: from {args.archive or args.url or source.url}', flush=True)
                data = fetch(source, out, args.url, args.archive)
                print(f'{source.name}: {data.files} files in {out}')
            else:
                print(f'{source.name}: already there, {data.files} files in {out}')
            report(source, data)
        except KeyboardInterrupt:
            print('interrupted; the same command goes on from here', file=sys.stderr)
            return INTERRUPTED
    return 0


def report(source: Source, data: DataSet) -> None:
    """Print what the hash of the contents tells.

    Args:
        source: The data set.
        data: What lies on disk.
    """
    if data.contents == source.contents:
        print(f'{source.name}: contents as in the shipped results (SHA-256 of SHA256SUMS {data.contents})')
    elif source.contents is None:
        print(f'{source.name}: SHA-256 of SHA256SUMS {data.contents}; no hash is known to compare it with')
    else:
        note(
            f'{source.name}: the contents differ from those that the shipped results were measured on (SHA-256 of '
            f'SHA256SUMS {data.contents} instead of {source.contents}); metrics may differ too'
        )


if __name__ == '__main__':
    sys.exit(main())
