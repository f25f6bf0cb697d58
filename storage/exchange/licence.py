"""Under which licence a recording says that it is."""

from pathlib import Path

import yaml

FENCE = "---\n"
FIRST_LINES = {
    "mit license": "mit", "the mit license": "mit", "apache license": "apache-2.0", "bsd 3-clause license": "bsd-3-clause",
    "bsd 2-clause license": "bsd-2-clause", "attribution 4.0 international": "cc-by-4.0", "cc0 1.0 universal": "cc0-1.0",
    "attribution-sharealike 4.0 international": "cc-by-sa-4.0", "attribution-noncommercial 4.0 international": "cc-by-nc-4.0",
}  # fmt: skip
"""How the files of licences begin, and what the hub calls them."""
MAX_BYTES = 1 << 16


def licence_of(folder: Path) -> dict[str, str]:
    """`license`, as the hub names it: by the front matter of the folder's README.md, else by its LICENSE; {} where neither says."""
    said = _front_matter(_begin(folder / "README.md")) or _known(_begin(folder / "LICENSE"))
    return {"license": said} if said else {}


def _begin(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _front_matter(text: str) -> str:
    front, fence, _ = text.removeprefix(FENCE).partition(FENCE)
    try:
        told = yaml.safe_load(front) if text.startswith(FENCE) and fence else None
    except yaml.YAMLError:
        return ""
    said = told.get("license") if isinstance(told, dict) else None
    return said if isinstance(said, str) else ""


def _known(text: str) -> str:
    first = next((line.strip().lower() for line in text.splitlines() if line.strip()), "")
    return FIRST_LINES.get(first, "other" if first else "")
