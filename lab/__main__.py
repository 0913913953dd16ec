"""`python -m lab`."""

from lab import main

if __name__ == "__main__":
    main()
