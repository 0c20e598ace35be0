"""``python -m nightwell.arrays.embedded serve ...``."""

import sys

from nightwell.arrays.embedded.process import main

if __name__ == "__main__":
    sys.exit(main())
