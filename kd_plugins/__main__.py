"""The console command ``kd_plugins``, also started as ``python -m kd_plugins``."""

import sys

from .commands.dispatch import main

if __name__ == '__main__':
    sys.exit(main())
