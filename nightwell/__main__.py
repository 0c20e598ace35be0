"""``python -m nightwell``: the command line."""

from nightwell.cli import main

if __name__ == "__main__":
    main()
