"""Properties: what holds in any weather."""
