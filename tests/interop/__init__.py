"""Clients written by others, against the running program in front of the stand-in for Immich."""
