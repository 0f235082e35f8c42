"""Compare configs over several seeds: the same as ``kd_plugins compare``."""

import sys

from kd_plugins.commands.compare import main

if __name__ == '__main__':
    sys.exit(main())
