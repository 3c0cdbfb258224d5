"""The arithmetic of the heads in numpy: the oracle of the compiled post-processing."""
