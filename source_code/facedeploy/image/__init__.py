"""Pixels: one library of operations, and two thin adapters, for calibration's list of ops and the fused operator."""
