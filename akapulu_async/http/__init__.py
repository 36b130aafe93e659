"""aiohttp behind deadlines, retries and a bounded pool. The rest of the package sends with `Transport`."""
