"""Make a detection data set of handwritten digits: the same as ``kd_plugins data digits``."""

import sys

from kd_plugins.commands.make_digits import main

if __name__ == '__main__':
    sys.exit(main())
