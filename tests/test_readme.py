"""What the README promises to a newcomer's copy and paste."""

import re
from pathlib import Path

from tools.capabilities import kept, markdown, with_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_twelve_lines_are_the_example_that_a_test_runs() -> None:
    block = re.search(r"<!-- examples/twelve_lines.py -->\n```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    example = (ROOT / "examples/twelve_lines.py").read_text()
    assert block[1].strip() in example
    code = [line for line in block[1].splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert 8 <= len(code) <= 12


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            assert set(re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)) <= targets


def test_every_folder_in_the_map_exists() -> None:
    for folder in re.findall(r"^\| `([a-z_/]+/)`", README, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_the_table_of_backends_is_what_the_adapters_were_tried_to_do() -> None:
    assert with_table(README, markdown(kept())) == README, "make capabilities writes it again"


def test_the_table_says_what_is_claimed_and_how_it_went() -> None:
    outcome = {
        "capabilities": {"CART": {"effect_class": "MARKED", "commands": ["create_cart", "add_line"]}, "CATALOG": {}},
        "checks": {"a": {"status": "passed"}, "b": {"status": "known"}, "c": {"status": "skipped"}},
        "losses": [{}, {}],
    }
    rows = markdown({"some": outcome}).splitlines()
    assert rows[0] == "| capability | some |"
    assert "| `CATALOG` | yes |" in rows
    assert "| `ORDER` | – |" in rows
    (cart,) = (row for row in rows if row.startswith("| `CART`"))
    assert "MARKED, without `set_line_quantity`, `remove_line`" in cart
    assert rows[-4:] == [
        "| checks passed | 1 |",
        "| known failures | 1 |",
        "| not about it | 1 |",
        "| fields lost | 2 |",
    ]
