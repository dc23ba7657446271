"""Write Sphinx inventories from a readable list, so that links to other projects need no network."""

import tomllib
import zlib
from pathlib import Path


def write_inventories(listing: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """Write one inventory for each project in `listing`; return Sphinx's `intersphinx_mapping`.

    A project has the `url` of its documentation and, for each `role` ("class",
    "function", ...), pages with the names on them; `{}` in a page is replaced by the name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, entry in tomllib.loads(listing.read_text()).items():
        lines = [
            f"{name} py:{role} 1 {page.replace('{}', name)}#{name} -\n"
            for role, pages in entry.items()
            if role != "url"
            for page, names in pages.items()
            for name in names
        ]
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        head += "# The remainder of this file is compressed using zlib.\n"
        file = folder / f"{project}.inv"
        file.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
        mapping[project] = (entry["url"], str(file))
    return mapping
