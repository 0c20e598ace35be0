"""``python -m nightwell.arrays.qemu serve ...``."""

import sys

from nightwell.arrays.qemu.process import main

if __name__ == "__main__":
    sys.exit(main())
