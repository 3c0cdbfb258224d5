"""What can be learned about an artifact: where its time goes, and how that compares."""
