"""python -m namprune."""

from namprune.cli import main

main()
