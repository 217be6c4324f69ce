"""Persistence: one protocol, one contract test suite, one engine a file."""
