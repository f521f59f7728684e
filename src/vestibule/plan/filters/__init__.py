"""What changes a body as it passes."""
