"""The console script `legato`: finds the command that is meant among those that installed packages have.

A command is an entry point of group "legato.commands": a function of its arguments that returns an exit status. Entry
point `hub` is the hub's own command line, which takes all that nobody else does. So `legato conformance` works where no
hub's dependencies are installed, and hub and adapters know nothing of each other.
"""

import sys
from importlib.metadata import EntryPoint, entry_points

_HUB = "hub"


def main() -> int:
    """Run what the command line names."""
    commands = {entry.name: entry for entry in entry_points(group="legato.commands")}
    hub = commands.pop(_HUB, None)
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in commands:
        status: int = commands[name].load()(sys.argv[2:])
        return status
    return _hub(hub, sorted(commands))


def _hub(hub: EntryPoint | None, others: list[str]) -> int:
    missing = "legato_hub"
    if hub is not None:
        try:
            run = hub.load()
        except ModuleNotFoundError as error:
            missing = str(error.name)
        else:
            run()
            return 0
    print(f"legato: without a hub there is: {', '.join(others)}", file=sys.stderr)
    print(f"The hub's commands need the extra `hub`: pip install 'legato[hub]' ({missing} is missing)", file=sys.stderr)
    return 2
