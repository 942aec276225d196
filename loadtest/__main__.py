"""`python -m loadtest`. Ctrl-C ends it without a traceback at any moment, even while its modules load."""

import sys

if __name__ == "__main__":
    try:
        from loadtest.command import main

        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
