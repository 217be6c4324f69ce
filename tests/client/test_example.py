"""The twelve lines are twelve, and they work."""

import ast
import asyncio
import sys
from pathlib import Path

from tests.support.hub import hub_config, running_hub

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/twelve_lines.py"


def test_there_are_at_most_twelve_lines_of_code() -> None:
    tree = ast.parse(EXAMPLE.read_text("utf-8"))
    code = {node.lineno for statement in tree.body[1:] for node in ast.walk(statement) if hasattr(node, "lineno")}
    assert len(code) <= 12


async def test_it_puts_a_line_into_a_cart_and_ends_by_itself(tmp_path: Path) -> None:
    async with running_hub(hub_config(tmp_path)) as hub:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", EXAMPLE, hub.target, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    lines = output.decode().splitlines()
    assert process.returncode == 0
    assert lines[0] == "[('PEG-ALU', 2, 0)] 1", "what is predicted has no price yet"
    assert lines[-1].startswith("[('PEG-ALU', 2, ")
    assert lines[-1].endswith(")] 0"), "what the hub confirmed"
