"""Sources that answer by themselves."""
