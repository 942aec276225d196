"""`python -m loadtest.bench`."""

from loadtest.bench.command import main

if __name__ == "__main__":
    main()
