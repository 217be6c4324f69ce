"""The Lua of the Valkey engine, one script a file. Each is atomic, on keys of one hash tag, behind `prelude.lua`."""

import hashlib
from importlib import resources


class Script:
    """`digest` is the name under which a server keeps it once it has seen `source`. One that only `reads` may be run
    again whenever its answer was lost."""

    def __init__(self, name: str, *, reads: bool = False) -> None:
        folder = resources.files(__package__)
        text = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
        self.reads = reads
        self.source = text.encode()
        self.digest = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


RIGHTS = (resources.files(__package__) / "rights.lua").read_bytes()
"""Not a `Script`: it is run before there is an epoch to be fenced by."""

BEGIN = Script("begin")
COMMIT = Script("commit")
RELEASE = Script("release")
LOAD = Script("load", reads=True)
SINCE = Script("since", reads=True)
REVISIONS = Script("revisions", reads=True)
LAST_SEQ = Script("last_seq", reads=True)
ADOPT_SEQ = Script("adopt_seq")
SLOT = Script("slot", reads=True)
AGE = Script("age")
BURY = Script("bury")
ERASE = Script("erase")
NOTIFY = Script("notify")
PUT = Script("put")
GET = Script("get", reads=True)
DELETE = Script("delete")
EXPIRE = Script("expire")
ADD = Script("add")
REMOVE = Script("remove")
MEMBERS = Script("members", reads=True)
