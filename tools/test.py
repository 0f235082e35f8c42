"""Evaluate a checkpoint: the same as ``kd_plugins test``."""

import sys

from kd_plugins.commands.test import main

if __name__ == '__main__':
    sys.exit(main())
