"""What needs no event loop, no clock and no socket: the reading of answers, and the policies."""
