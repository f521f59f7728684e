"""The control process: reads configuration, owns sockets, keys and names, and keeps the workers going.

Rules: the only place of `asyncio`. No byte of a client is ever read here, because this process may keep root.

Start with `main.py`; `reload.py` is the hard file.
"""
