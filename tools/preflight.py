"""Check a config on one batch: the same as ``kd_plugins preflight``."""

import sys

from kd_plugins.commands.preflight import main

if __name__ == '__main__':
    sys.exit(main())
