"""The offline exchange format: images in npz files, slots in npz files."""
