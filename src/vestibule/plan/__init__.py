"""What a plan is made of: steps, sources, switches, expressions, pages and logs."""
