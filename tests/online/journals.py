"""Journals of tests, changed behind their back."""

import sqlite3

from perdure.online.folder import JOURNAL


def change_journal(folder, *statements):
    """Execute statements in the journal of a folder, as another program would."""
    connection = sqlite3.connect(folder / JOURNAL)
    for it in statements:
        connection.execute(it)
    connection.commit()
    connection.close()
