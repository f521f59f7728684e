"""Hostile input beside the peers: the same bytes to vestibule, nginx, HAProxy, Caddy and httpd, and who does what with them."""
