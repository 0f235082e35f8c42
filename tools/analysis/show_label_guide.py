"""Draw which objects paint the instructive maps: the same as ``kd_plugins show label-guide``."""

import sys

from kd_plugins.commands.show_label_guide import main

if __name__ == '__main__':
    sys.exit(main())
