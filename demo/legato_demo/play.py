"""What `legato demo` starts."""


def main(once: bool, backend: str, hubs: int) -> int:
    """Play the script once, or run the live demo; the exit status."""
    from legato_demo.shops import SHOPS

    if backend not in SHOPS:
        print(f"there is no backend {backend!r}: {', '.join(SHOPS)}")
        return 2
    if once:
        from legato_demo import script

        return script.main(backend, hubs)
    from legato_demo import live

    return live.main(backend, hubs)
