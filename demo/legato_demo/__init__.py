"""`legato demo`: a hub and three live channels in one terminal.

The demo stands beside hub and adapters because it looks at both: it drives the hub through the SDK like any channel,
and reads the backend past the hub to check what the hub says.
"""
