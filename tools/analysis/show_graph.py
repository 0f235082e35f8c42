"""Draw the points and neighbours of a local graph: the same as ``kd_plugins show graph``."""

import sys

from kd_plugins.commands.show_graph import main

if __name__ == '__main__':
    sys.exit(main())
