"""`python -m docs.reference [FOLDER]`: write the generated pages into the folder of the pages."""

import sys
from pathlib import Path

from docs.reference.pages import PAGES_FOLDER, write_pages

if __name__ == "__main__":
    write_pages(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES_FOLDER)
