"""Files of other frameworks become Relax modules."""
