"""WIDER FACE: ground truth, prediction files, matching, average precision. .mat files need scipy (extra eval)."""
