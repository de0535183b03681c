"""`python -m loadtests` is the load command."""

from loadtests.command import main

if __name__ == "__main__":
    main()
