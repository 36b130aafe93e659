"""The load test: an engine that uses the library's public API alone, and its report.

- `plan`, `requests`: input. `metrics`: figures by name, and thresholds on them.
- `runner` starts conversations as planned, `attempts` runs each one, `recorder` collects the measurements.
- `results`: the measurements as plain values. `view`: a running test at one moment.
- `report`: the HTML page, drawn by the modules `*_charts` with the help of `series` and `wording`.
"""
