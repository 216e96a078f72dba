"""The command `namprune`, and python -m namprune."""

import signal


def main() -> None:
    """Load the command line and run it; until it listens to signals itself, Ctrl-C ends the process without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from namprune.cli import main as run

    run()


if __name__ == "__main__":
    main()
