"""The pure core: no event loop, no clock, no socket."""
