"""The only room that prints: results to stdout, messages and progress to stderr, all of it to the log file."""

from namprune.console.bars import Progress, progress
from namprune.console.messages import (
    announce,
    detail,
    error,
    hushed,
    message,
    quiet,
    reset,
    speak,
    trace,
    verbose,
    warn,
)
from namprune.console.results import output, print_json, show
from namprune.console.text import printable
from namprune.console.waits import status, watched

__all__ = [
    "Progress",
    "announce",
    "detail",
    "error",
    "hushed",
    "message",
    "output",
    "print_json",
    "printable",
    "progress",
    "quiet",
    "reset",
    "show",
    "speak",
    "status",
    "trace",
    "verbose",
    "warn",
    "watched",
]
