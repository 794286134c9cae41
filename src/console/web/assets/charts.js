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
    // As many labels as there is room for.
    const every = Math.ceil((bounds.length * 56) / size.width);
    const labels = at.filter((index) => index % every === 0);
    const label = (bound) => (bound >= 1000 ? `≤${bound / 1000} s` : `≤${bound} ms`);
    new uPlot({
      ...size,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: [-0.7, bounds.length - 0.3] } },
      axes: [{ ...axis, splits: () => labels, values: () => labels.map((index) => label(bounds[index])), space: 30 }, axis],
      series: [{}, filled("requests", "--act")],
    }, [at, counts], place);
  } else {
    // In UTC, as the records are; with the day where there is more than one.
    const long = series[0].at(-1) - series[0][0] > 86_400;
    const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(long ? 5 : 11, 16).replace("T", " ");
    const times = { ...axis, values: (_, splits) => splits.map(moment), space: long ? 90 : 50 };
    new uPlot({ ...size, legend: { show: false }, cursor: { show: false }, axes: [times, axis], series: [{}, filled("requests", "--act"), filled("errors", "--bad")] }, series, place);
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
