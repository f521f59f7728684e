"""Steps: what happens to a request before its source, and to a response after it."""
