"""What the tests buy in the seeded shop of the reference adapter."""

SKU = "PEG-ALU"
"""Cheap, and there are a hundred million of it."""

LOW_SKU = "STOVE-TI"
LOW_STOCK = 5
"""So many of it are left."""
