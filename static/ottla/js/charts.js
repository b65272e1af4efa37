// Line charts and sparklines of the short history: SVG, one shared time axis and crosshair per page, gaps where a
// sample is missing, rates from zero. Series are arrays of [ms, value, value, …]; null is a gap.

import { now } from "./freshness.js";
import { KINDS, clock } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const SPAN_MS = 15 * 60_000;
const GAP_MS = 16_000; // More than three missing points of the coarsest series.
const MARGIN = { top: 10, right: 12, bottom: 22, left: 64 };
const TICKS_Y = 4;

const series = new Map();
const charts = [];

export function startCharts(initial) {
  for (const [name, points] of Object.entries(initial)) series.set(name, points);
  for (const figure of document.querySelectorAll("[data-chart]")) charts.push(new Chart(figure));
  draw();
  setInterval(() => document.hidden || draw(), 2_000);
}

export function setSeries(name, points) {
  series.set(name, points);
  draw();
}

export function addPoints(name, points) {
  const known = series.get(name) ?? [];
  const last = known.length ? known[known.length - 1][0] : 0;
  known.push(...points.filter(([at]) => at > last));
  const first = now() - SPAN_MS - 10_000;
  while (known.length && known[0][0] < first) known.shift();
  series.set(name, known);
  draw();
}

function draw() {
  for (const chart of charts) chart.draw();
  for (const spark of document.querySelectorAll("svg[data-spark]")) drawSpark(spark);
}

// Stretches without a gap, each a list of [ms, value].
function stretches(points, index, first) {
  const found = [];
  let current = [];
  let previous = 0;
  for (const point of points) {
    if (point[0] < first) continue;
    const value = point[index];
    if (value === null || value === undefined || (previous && point[0] - previous > GAP_MS)) {
      if (current.length) found.push(current);
      current = [];
    }
    if (value !== null && value !== undefined) {
      current.push([point[0], value]);
      previous = point[0];
    }
  }
  if (current.length) found.push(current);
  return found;
}

function path(stretch, x, y) {
  return stretch.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)},${y(value).toFixed(1)}`).join("");
}

function element(name, attributes = {}, parent = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

const SECONDS_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400];

// A round step that divides the range into about `count` parts, in units of the kind (1024 for bytes, 60 for time).
function niceStep(range, count, base) {
  if (base === 60) {
    const fitting = SECONDS_STEPS.find((step) => step >= range / count);
    return fitting ?? Math.ceil(range / count / 86_400) * 86_400;
  }
  let unit = 1;
  while (range / count >= unit * base) unit *= base;
  const rough = range / count / unit;
  if (base === 1024) return 2 ** Math.ceil(Math.log2(rough)) * unit;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 2.5, 5, 10].find((candidate) => candidate * power >= rough) ?? 10;
  return factor * power * unit;
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.name = figure.dataset.chart;
    this.kind = KINDS[figure.dataset.kind] ?? KINDS.count;
    this.lines = JSON.parse(figure.dataset.lines);
    this.svg = element("svg", { class: "ot-chart__svg", "aria-hidden": "true" });
    this.tip = document.createElement("div");
    this.tip.className = "ot-chart__tip";
    this.tip.hidden = true;
    this.legend = document.createElement("figcaption");
    this.legend.className = "ot-chart__legend";
    figure.append(this.legend, this.svg, this.tip);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => charts.forEach((chart) => chart.leave()));
    new ResizeObserver(() => this.draw()).observe(figure);
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (width < 60 || height < 40) return;
    const points = series.get(this.name) ?? [];
    const last = now();
    const first = last - SPAN_MS;
    const drawn = this.lines.map((line) => stretches(points, line.index, first));
    const highest = Math.max(0, ...drawn.flat(2).map(([, value]) => value));
    const step = highest > 0 ? niceStep(highest, TICKS_Y, this.kind.step) : 1;
    const top = Math.max(step, Math.ceil(highest / step) * step);
    this.x = (at) => MARGIN.left + ((at - first) / SPAN_MS) * (width - MARGIN.left - MARGIN.right);
    this.y = (value) => height - MARGIN.bottom - (value / top) * (height - MARGIN.top - MARGIN.bottom);
    this.box = { width, height, first, last };
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const axes = this.axes(width, height, first, last, top, highest > 0 ? step : top);
    const curves = element("g");
    this.lines.forEach((line, index) => {
      for (const stretch of drawn[index]) this.curve(curves, line, stretch);
    });
    this.cross = element("g", { class: "ot-chart__cross" });
    this.svg.replaceChildren(axes, curves, this.cross);
    if (!drawn.flat().length) this.empty(width, height);
    this.label(points);
    if (this.hovered) this.show(this.hovered);
  }

  axes(width, height, first, last, top, step) {
    const group = element("g", { class: "ot-chart__axes" });
    for (let value = 0; value <= top * 1.0001; value += step) {
      const y = this.y(value);
      element("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }, group);
      element("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, group).textContent = this.kind.format(value);
    }
    const minutes = width < 480 ? 5 : 3;
    for (let ago = 0; ago <= 15; ago += minutes) {
      const at = last - ago * 60_000;
      const anchor = ago === 0 ? "end" : ago === 15 ? "start" : "middle";
      const text = element("text", { x: this.x(at), y: height - 5, "text-anchor": anchor }, group);
      text.textContent = ago === 0 ? "now" : `${ago} min${width < 480 ? "" : " ago"}`;
    }
    return group;
  }

  curve(parent, line, stretch) {
    const css = `ot-line ot-line--${line.css}`;
    if (stretch.length === 1) {
      element("circle", { class: css, cx: this.x(stretch[0][0]), cy: this.y(stretch[0][1]), r: 1.5 }, parent);
      return;
    }
    const shape = path(stretch, this.x, this.y);
    if (line.area || this.lines.length === 1 || line === this.lines[0]) {
      const base = this.y(0);
      const closed = `${shape}L${this.x(stretch[stretch.length - 1][0])},${base}L${this.x(stretch[0][0])},${base}Z`;
      element("path", { class: `ot-area ot-area--${line.css}`, d: closed }, parent);
    }
    element("path", { class: css, d: shape }, parent);
  }

  empty(width, height) {
    const text = element("text", { class: "ot-chart__empty", x: (width + MARGIN.left) / 2, y: height / 2, "text-anchor": "middle" });
    text.textContent = "No samples in the last 15 minutes yet";
    this.svg.append(text);
  }

  label(points) {
    const newest = points[points.length - 1];
    this.legend.replaceChildren(
      ...this.lines.map((line) => {
        const item = document.createElement("span");
        item.className = `ot-key ot-key--${line.css}`;
        const value = newest?.[line.index];
        const shown = value === null || value === undefined ? "—" : this.kind.format(value);
        item.append(line.label, " ", Object.assign(document.createElement("b"), { textContent: shown }));
        return item;
      }),
    );
  }

  point(event) {
    if (!this.box) return;
    const left = event.clientX - this.svg.getBoundingClientRect().left;
    const share = (left - MARGIN.left) / (this.box.width - MARGIN.left - MARGIN.right);
    const at = this.box.first + share * SPAN_MS;
    charts.forEach((chart) => chart.show(at));
  }

  show(at) {
    this.hovered = at;
    const points = series.get(this.name) ?? [];
    const nearest = points.reduce((best, point) => (!best || Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best), null);
    if (!this.box || !nearest || Math.abs(nearest[0] - at) > GAP_MS || nearest[0] < this.box.first) {
      this.cross?.replaceChildren();
      this.tip.hidden = true;
      return;
    }
    const x = this.x(nearest[0]);
    this.cross.replaceChildren();
    element("line", { x1: x, x2: x, y1: MARGIN.top, y2: this.box.height - MARGIN.bottom }, this.cross);
    const rows = [Object.assign(document.createElement("strong"), { textContent: clock(nearest[0]) })];
    for (const line of this.lines) {
      const value = nearest[line.index];
      const known = value !== null && value !== undefined;
      if (known) element("circle", { class: `ot-dot ot-dot--${line.css}`, cx: x, cy: this.y(value), r: 3.5 }, this.cross);
      const row = document.createElement("span");
      row.className = `ot-key ot-key--${line.css}`;
      row.append(line.label, " ", Object.assign(document.createElement("b"), { textContent: known ? this.kind.format(value) : "—" }));
      rows.push(row);
    }
    this.tip.replaceChildren(...rows);
    this.tip.hidden = false;
    const flip = x > this.box.width * 0.65;
    this.tip.style.transform = `translateX(${flip ? x - this.tip.offsetWidth - 12 : x + 12}px)`;
  }

  leave() {
    this.hovered = 0;
    this.tip.hidden = true;
    this.cross?.replaceChildren();
  }
}

const SPARK = { width: 120, height: 28 };

function drawSpark(svg) {
  const points = series.get(svg.dataset.spark) ?? [];
  const last = now();
  const first = last - SPAN_MS;
  const found = stretches(points, Number(svg.dataset.index), first);
  const highest = Math.max(0, ...found.flat().map(([, value]) => value));
  const x = (at) => ((at - first) / SPAN_MS) * SPARK.width;
  const y = (value) => SPARK.height - 2 - (highest ? value / highest : 0) * (SPARK.height - 4);
  svg.setAttribute("viewBox", `0 0 ${SPARK.width} ${SPARK.height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const shapes = [];
  for (const stretch of found) {
    if (stretch.length < 2) continue;
    const shape = path(stretch, x, y);
    const base = SPARK.height;
    shapes.push(
      element("path", { class: "ot-spark__area", d: `${shape}L${x(stretch[stretch.length - 1][0])},${base}L${x(stretch[0][0])},${base}Z` }),
      element("path", { class: "ot-spark__line", d: shape, "vector-effect": "non-scaling-stroke" }),
    );
  }
  svg.replaceChildren(...shapes);
}
