"""``PYTHONPATH=tests python -m kills``: see :mod:`kills.command`."""

import sys

if __name__ == "__main__":
    # Imported here only: every process that is forked for a case loads this file again.
    from kills.command import main

    sys.exit(main())
