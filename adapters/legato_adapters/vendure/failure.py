"""The one exception that becomes a gRPC status."""

import grpc

__all__ = ["EFFECT_NONE", "Failure"]

EFFECT_NONE = ("legato-effect", "none")


class Failure(Exception):
    """Ends the call with `code`. `without_effect`: UNAVAILABLE, and the backend certainly did nothing."""

    def __init__(self, code: grpc.StatusCode, details: str, *, without_effect: bool = False) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailing = (EFFECT_NONE,) if without_effect else ()
