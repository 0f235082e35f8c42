"""Measure step time and memory of a config against a baseline: the same as ``kd_plugins overhead``."""

import sys

from kd_plugins.commands.overhead import main

if __name__ == '__main__':
    sys.exit(main())
