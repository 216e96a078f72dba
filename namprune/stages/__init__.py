"""The commands as functions: each reads like what it does, prints its progress and returns its result."""
