"""The README says what is true: each of its examples runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
FIRST_EXAMPLE_LINES_MAX = 15


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_readme_example_runs(example: str, tmp_path: Path) -> None:
    """An example pasted into a file runs in an empty directory."""
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "") == (ran.returncode, ran.stderr)


def test_first_example_is_short() -> None:
    """The first example has at most 15 lines and is synchronous."""
    assert len(EXAMPLES[0].splitlines()) <= FIRST_EXAMPLE_LINES_MAX
    assert "async" not in EXAMPLES[0]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_readme_links_lead_somewhere(target: str) -> None:
    """A relative link names a file or folder of the repository."""
    assert (ROOT / target).exists()
