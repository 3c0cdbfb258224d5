"""argv -> one call -> printed result; nothing else."""
