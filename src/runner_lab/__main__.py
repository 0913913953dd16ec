"""`python -m runner_lab`."""

from runner_lab.lab import main

if __name__ == "__main__":
    main()
