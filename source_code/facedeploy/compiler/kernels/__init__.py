"""Kernels, one family a file: TIR functions of our own, and schedules of what TVM's lowering gives."""
