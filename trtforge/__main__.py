"""``python -m trtforge``."""

from trtforge.cli import main

main()
