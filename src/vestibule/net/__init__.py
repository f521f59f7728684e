"""Sockets: the reactor, timers, transports and relays. Imports `fault` only; knows no HTTP."""
