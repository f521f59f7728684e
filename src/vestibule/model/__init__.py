"""The typed configuration: pure data that every dialect writes and one compiler reads.

Rules: imports the standard library only; touches no socket, file, clock or logger.

Not here: the syntax of any configuration file (``dialects``), the run-time plan (``plan``, ``compile``).
"""
