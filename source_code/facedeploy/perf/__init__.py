"""How fast an artifact is."""
