"""The table of knobs in models/README.md says what the fields say."""

import re
from pathlib import Path

from models.config import ModelConfig

README = Path(__file__).parents[2] / "models/README.md"


def test_every_knob_stands_in_the_table_with_the_paper_of_its_field():
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.*?) \| (.*?) \|$", README.read_text())
    proven = {name: by for name, _, by in rows}
    wanted = [f"| `{spec.path}` | {spec.knob.paper} | {proven.get(spec.path, 'by what?')} |" for spec in ModelConfig.specs()]
    table = [f"| `{name}` | {paper} | {by} |" for name, paper, by in rows]
    assert table == wanted, "the table should be:\n" + "\n".join(wanted)
    assert all(len(by) > 2 for by in proven.values())
