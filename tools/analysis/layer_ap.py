"""Measure the AP of every decoder layer of a DETR: the same as ``kd_plugins show layer-ap``."""

import sys

from kd_plugins.commands.show_layer_ap import main

if __name__ == '__main__':
    sys.exit(main())
