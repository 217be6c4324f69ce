"""Legato client: one cart and one session on every channel."""
