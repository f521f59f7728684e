"""Automatic certificates by ACME (RFC 8555): orders, accounts, proofs, renewal, and where they are kept."""
