"""vestibule started as nginx, HAProxy, Caddy and httpd are."""
