"""A storage that keeps nothing: what a command costs the bare server without one."""

from legato_hub.storage.base import Claim, Commit, Committed, Cursor, Follower, Fresh


class NoStorage:
    """The part of `Storage` that the bare server calls."""

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def follow(self, resource: str, follower: Follower) -> None:
        pass

    async def begin(self, claim: Claim) -> Fresh:
        return Fresh(0)

    async def commit(self, commit: Commit) -> Committed:
        return Committed(Cursor("", commit.base + 1), durable=False)
