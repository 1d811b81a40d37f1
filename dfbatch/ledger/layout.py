"""What lies where under a ledger's root, and whether this dfbatch knows its format."""

from __future__ import annotations

import json

from dfbatch.errors import LedgerCorrupt, LedgerTooNew
from dfbatch.ledger import delta_log
from dfbatch.ledger.schemas import LEDGER_FORMAT
from dfbatch.ledger.storage import Storage
from dfbatch.version import __version__

MARKER_FILE = "ledger.json"


def check_format(storage: Storage) -> None:
    """Raise LedgerTooNew if the ledger is of a newer format than this code writes, LedgerCorrupt if it cannot tell."""
    try:
        marker = json.loads(storage.read(MARKER_FILE))
        found, version = int(marker["format"]), str(marker.get("dfbatch", "?"))
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerCorrupt(
            f'{storage.root}/{MARKER_FILE} is damaged. Write {{"format": {LEDGER_FORMAT}}} into it if this folder '
            f"is a ledger of this version."
        ) from error
    if found > LEDGER_FORMAT:
        raise LedgerTooNew(
            f"The ledger under {storage.root} has format {found} (written by dfbatch {version}); this dfbatch knows "
            f"formats up to {LEDGER_FORMAT}. Upgrade dfbatch, or choose another storage_path."
        )


def begin_ledger(storage: Storage) -> None:
    """Write the file that says that here is a ledger, unless it is there. Raises StorageRefused."""
    if not storage.exists(MARKER_FILE):
        marker = {"format": LEDGER_FORMAT, "dfbatch": __version__}
        storage.replace(MARKER_FILE, json.dumps(marker).encode() + b"\n")


def user_tables(storage: Storage) -> list[str]:
    """Names of the ``inputs_*`` and ``outputs_*`` tables."""
    found = [name for name in storage.folders() if name.startswith(("inputs_", "outputs_"))]
    return [name for name in found if storage.list(delta_log.log_folder(name))]
