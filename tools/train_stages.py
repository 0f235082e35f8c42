"""Train a chain of stages: the same as ``kd_plugins train-stages``."""

import sys

from kd_plugins.commands.train_stages import main

if __name__ == '__main__':
    sys.exit(main())
