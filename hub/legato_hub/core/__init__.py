"""The decisions of the hub: no I/O, no clock, no randomness, no grpc, no asyncio. Time and ids come in as arguments."""
