"""`python -m train RECIPE`, and what torchrun starts."""

from train.command import leave, main

if __name__ == "__main__":
    leave(main())
