"""The checks, one module a capability or a part of it."""
