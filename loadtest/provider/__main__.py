"""`python -m loadtest.provider`."""

import sys

from loadtest.provider.server import main

if __name__ == "__main__":
    main(sys.argv[1:])
