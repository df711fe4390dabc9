"""The command `isocenter`: one file per command, imported when it is called; main.py lists them."""
