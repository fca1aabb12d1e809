"""`python -m train RECIPE`, and what torchrun starts."""

import sys

from train.command import main

if __name__ == "__main__":
    sys.exit(main())
