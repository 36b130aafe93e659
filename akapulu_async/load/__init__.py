"""The load test: an engine that uses the library's public API alone, and its report.

- `plan`, `requests`: input. `metrics`: figures by name, and thresholds on them. `comparison`: two tests side by side.
- `runner` starts conversations as planned, `attempts` runs each one, `calls` counts its calls, `recorder` collects the
  measurements.
- `results`: the measurements as plain values. `view`: a running test at one moment.
- `report`: the HTML page. The modules `*_charts` make its charts with the help of `series` and `wording`, and `charts`
  draws them.
"""
