"""Train a config: the same as ``kd_plugins train``."""

import sys

from kd_plugins.commands.train import main

if __name__ == '__main__':
    sys.exit(main())
