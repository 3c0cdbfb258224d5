"""What runs on the target: an artifact opened, and images streamed through it."""
