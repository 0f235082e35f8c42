"""Draw training images as teacher and student see them: the same as ``kd_plugins show views``."""

import sys

from kd_plugins.commands.show_views import main

if __name__ == '__main__':
    sys.exit(main())
