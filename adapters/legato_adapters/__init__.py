"""Translators between the adapter contract and the backends that stand behind it."""
