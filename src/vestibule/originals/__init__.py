"""vestibule, started the way nginx, HAProxy, Caddy and httpd are: their flags, signals, pid files, messages and exit statuses.

Rules: a wrapper translates how a program is started and stopped, and nothing of what its configuration means.

Not here: the languages (`dialects`), serving (`control`).
"""
