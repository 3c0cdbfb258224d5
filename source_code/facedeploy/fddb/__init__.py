"""FDDB: fold files, elliptic ground truth, results, matching, the ROC. Matching needs scipy (extra eval)."""
