"""What client and hub must agree on to the byte: ids, resource names, entities, deltas and the digest.

Pure: no I/O. The hub's core and the client's replica stand on the same functions, so they cannot drift apart.
"""
