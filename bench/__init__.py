"""Vestibule's measurements: `macro` compares whole proxies, `micro` times single hot files. See README.md beside this file."""
