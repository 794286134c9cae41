// Draws the figures that a page brings along. The same figures stand in the page as text.
"use strict";
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function draw(place) {
  const series = JSON.parse(place.dataset.series);
  place.replaceChildren();
  const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
  const bars = uPlot.paths.bars({ size: [0.9, 60] });
  const size = { width: Math.max(place.clientWidth - 20, 200), height: 170 };
  const filled = (label, name) => ({ label, stroke: color(name), fill: color(name), paths: bars, points: { show: false } });
  if (place.dataset.chart === "latency") {
    const [bounds, counts] = series;
    const at = bounds.map((_, index) => index);
    new uPlot({
      ...size,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: [-0.7, bounds.length - 0.3] } },
      axes: [{ ...axis, splits: () => at, values: () => bounds.map((bound) => (bound >= 1000 ? `≤${bound / 1000} s` : `≤${bound} ms`)), space: 30 }, axis],
      series: [{}, filled("requests", "--act")],
    }, [at, counts], place);
  } else {
    new uPlot({ ...size, legend: { show: false }, cursor: { show: false }, axes: [axis, axis], series: [{}, filled("requests", "--act"), filled("errors", "--bad")] }, series, place);
  }
}

const places = [...document.querySelectorAll("[data-chart]")];
const all = () => places.forEach(draw);
all();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) all();
  width = innerWidth;
});
