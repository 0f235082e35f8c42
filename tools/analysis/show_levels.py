"""Draw the prediction of each level of a network: the same as ``kd_plugins show levels``."""

import sys

from kd_plugins.commands.show_levels import main

if __name__ == '__main__':
    sys.exit(main())
