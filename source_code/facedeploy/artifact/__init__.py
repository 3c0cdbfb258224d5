"""The three files of a compiled model: what they say, how they are written, how they are opened."""
