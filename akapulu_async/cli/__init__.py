"""The command line: `akapulu-async`, with the extra `cli`. Nothing of the library imports it."""
