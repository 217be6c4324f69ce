"""Vendure as a backend."""
