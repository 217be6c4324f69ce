"""The Legato hub: collects, harmonises and synchronises carts and sessions."""
