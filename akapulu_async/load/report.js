"use strict";

// Draws the charts in the page's colours, and redraws them when those change: with the colour scheme, and for print.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const PAPER = 640; // pixels that fit on A4 and Letter
  const dark = matchMedia("screen and (prefers-color-scheme: dark)");
  const print = matchMedia("print");
  const touch = matchMedia("(pointer: coarse)");

  function coloured(value, style) {
    if (typeof value === "string") {
      const variable = /^var\((--[a-z-]+)\)$/.exec(value);
      return variable ? style.getPropertyValue(variable[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => coloured(item, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, style)]));
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    for (const [name, figure] of Object.entries(figures)) {
      const { data, layout } = coloured(figure, style);
      layout.dragmode = touch.matches ? false : "zoom"; // a finger that drags scrolls the page
      if (print.matches) layout.width = PAPER;
      Plotly.react(name, data, layout, config);
      if (!print.matches) Plotly.Plots.resize(name); // back to the page's width after print
    }
  }

  draw();
  for (const media of [dark, print, touch]) media.addEventListener("change", draw);
})();
