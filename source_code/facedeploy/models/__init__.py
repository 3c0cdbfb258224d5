"""PyTorch nets. `specs` is the table of what exists and needs no torch."""
