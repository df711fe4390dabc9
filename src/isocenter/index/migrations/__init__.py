"""Alembic's environment for the index; part of the wheel, run when an index is opened."""
