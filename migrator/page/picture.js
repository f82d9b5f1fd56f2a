"use strict";
/* Pictures as SVG: how accounts are spread over states, and values over time. Each is told in words, too. */

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, ...children) {
  const e = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

/* parts: [{label, value, color}]; one bar, and what it shows in words for who does not see it. */
function stackPicture(parts, words) {
  const all = parts.reduce((sum, p) => sum + p.value, 0);
  const svg = shape("svg", { class: "stack", role: "img", "aria-label": words, viewBox: "0 0 1000 26", preserveAspectRatio: "none" });
  const shown = parts.filter((p) => p.value > 0);
  const least = 6; /* what is there can be seen */
  const room = 1000 - shown.length * least;
  let x = 0;
  if (all === 0) svg.append(shape("rect", { x: 0, y: 0, width: 1000, height: 26, fill: "var(--line)" }));
  for (const p of shown) {
    const width = least + (room * p.value) / all;
    svg.append(shape("rect", { x: x.toFixed(2), y: 0, width: Math.max(1, width - 1.5).toFixed(2), height: 26, fill: p.color }));
    x += width;
  }
  return svg;
}

/* A round number that is not below n: 1, 2 or 5 times a power of `base`. */
function roundUp(n, base) {
  if (n <= 0) return 1;
  const power = base ** Math.floor(Math.log(n) / Math.log(base));
  for (const step of base === 1024 ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 5, 10]) if (step * power >= n) return step * power;
  return base * power;
}

/* layers: [{label, color, values}], one value for each of times (ms); null where there is none. stacked: they lie on each other,
 * else each is a line. show: a number as text. */
function timePicture({ times, layers, stacked, show, words, base = 10 }) {
  const W = 640, H = 200, left = 62, right = 10, top = 12, bottom = 26;
  const svg = shape("svg", { role: "img", "aria-label": words, viewBox: `0 0 ${W} ${H}`, width: "100%" });
  const from = times[0], to = times[times.length - 1];
  const tops = times.map((_, i) => layers.reduce((sum, l) => (stacked ? sum + (l.values[i] || 0) : Math.max(sum, l.values[i] || 0)), 0));
  const most = roundUp(Math.max(1e-9, ...tops), base);
  const x = (i) => left + ((W - left - right) * (times[i] - from)) / Math.max(1, to - from);
  const y = (v) => H - bottom - ((H - top - bottom) * v) / most;
  for (const part of [0, 0.5, 1]) {
    const at = y(most * part).toFixed(1);
    svg.append(shape("line", { class: "grid-line", x1: left, x2: W - right, y1: at, y2: at }));
    const text = shape("text", { x: left - 6, y: Number(at) + 4, "text-anchor": "end" });
    text.textContent = show(most * part);
    svg.append(text);
  }
  for (const [i, anchor] of [[0, "start"], [times.length - 1, "end"]]) {
    const text = shape("text", { x: x(i).toFixed(1), y: H - 8, "text-anchor": anchor });
    text.textContent = shortMoment(times[i], to - from);
    svg.append(text);
  }
  const below = times.map(() => 0);
  for (const layer of layers) {
    const line = [];
    const floor = times.map((_, i) => `${x(i).toFixed(1)},${y(below[i]).toFixed(1)}`).reverse();
    times.forEach((_, i) => {
      if (layer.values[i] === null) return;
      if (stacked) below[i] += layer.values[i];
      line.push(`${x(i).toFixed(1)},${y(stacked ? below[i] : layer.values[i]).toFixed(1)}`);
    });
    if (stacked) svg.append(shape("polygon", { points: [...line, ...floor].join(" "), fill: layer.color }));
    else svg.append(shape("polyline", { points: line.join(" "), fill: "none", stroke: layer.color, "stroke-width": 2, "stroke-linejoin": "round" }));
  }
  return svg;
}

/* The time of day; with the date where the picture spans more than a day. */
function shortMoment(ms, span) {
  const day = span > 20 * 3600e3 ? { day: "numeric", month: "short" } : {};
  return new Date(ms).toLocaleString([], span > 3 * 86400e3 ? day : { ...day, hour: "2-digit", minute: "2-digit" });
}
