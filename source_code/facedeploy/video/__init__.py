"""Video: frames off a byte stream or a file, the newest of those that come too fast, and results frame by frame."""
