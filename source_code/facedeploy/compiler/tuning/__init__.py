"""Which of several kernels is fastest here, measured once and kept in a file."""
