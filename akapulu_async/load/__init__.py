"""The load test: arrivals, what is measured of them, and what is told of that."""
