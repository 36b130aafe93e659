"""The command line `akapulu-async` (extra `cli`). Nothing else in the library imports it."""

COMMANDS = {
    "connect": "Connect a conversation and show how it goes.",
    "watch": "Follow a conversation that was connected elsewhere.",
    "show": "Show a conversation's details and transcript.",
    "download": "Download a recording, resuming an interrupted download.",
    "load": "Load-test the service.",
    "simulate": "Run a local simulator of Akapulu until interrupted.",
    "doctor": "Check key, address and connection, and say how to fix them.",
}
"""The commands with a line each. Without the extra, `--help` shows them too."""
