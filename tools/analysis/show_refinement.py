"""Draw each decoder layer's boxes and edge distributions: the same as ``kd_plugins show refinement``."""

import sys

from kd_plugins.commands.show_refinement import main

if __name__ == '__main__':
    sys.exit(main())
