"""Write the next revision from the difference between the tables and a freshly migrated database.

Usage: python -m vidlm.store.migrations "what changes"
"""

import sys
import tempfile
from pathlib import Path

from alembic import command

from vidlm.store.engine import alembic_config, migrate, open_engine


def main(message: str) -> None:
    """Create `versions/NNNN_message.py`; read it before it is committed."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'empty.db'}"
        migrate(url)
        with open_engine(url).connect() as connection:
            known = len(list((Path(__file__).parent / "versions").glob("[0-9]*.py")))
            command.revision(alembic_config(connection), message, autogenerate=True, rev_id=f"{known + 1:04d}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
