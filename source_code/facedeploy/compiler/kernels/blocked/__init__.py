"""Kernels on blocked activations: channels in blocks of a vector, and a halo of zeros that the producer writes."""
