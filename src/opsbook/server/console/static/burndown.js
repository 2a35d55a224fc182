/* What was left of a budget, the ideal diagonal, and how it goes on. */
"use strict";
(() => {
  const box = document.getElementById("burndown");
  if (!box || !window.uPlot) return;
  const target = box.querySelector(".plot");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  let plot = null;
  let found = null;

  function say(text) {
    let none = target.querySelector(".none");
    if (!text) { none?.remove(); return; }
    if (!none) { none = document.createElement("p"); none.className = "none"; target.append(none); }
    none.textContent = text;
  }
  function draw() {
    plot?.destroy();
    plot = null;
    const points = found.points; // where nothing is known there is a gap
    const known = points.filter(([, left]) => left !== null);
    if (!known.length) { say("nothing to draw yet"); return; }
    say("");
    const { since: start, until } = found;
    // What is to come is shown as far as it can be compared with what was.
    const end = Math.max(until, Math.min(found.projected.at(-1)?.[0] || 0, until + (until - start) / 2));
    const joined = uPlot.join([
      [points.map(([at]) => at), points.map(([, left]) => left)],
      [found.ideal.map(([at]) => at), found.ideal.map(([, left]) => left)],
      [found.projected.map(([at]) => at), found.projected.map(([, left]) => left)],
    ]);
    const day = end - start > 3 * 86400;
    const when = (at) => {
      const moment = new Date(at * 1000);
      return day ? `${moment.getDate()} ${moment.toLocaleString("en", { month: "short" })}` : moment.toTimeString().slice(0, 5);
    };
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(document.body).fontFamily}` };
    const line = (name, more) => ({ stroke: colour(name), width: 2, spanGaps: false, points: { show: false }, ...more });
    const lowest = Math.min(0, ...known.map(([, left]) => left));
    plot = new uPlot({
      width: target.clientWidth, height: target.clientHeight, legend: { show: false }, cursor: { drag: { x: false, y: false }, y: false },
      scales: { x: { time: true, range: () => [start, end] }, y: { range: () => [Math.max(-2, lowest * 1.1), 1.05] } },
      axes: [
        { ...axis, size: 28, space: 64, values: (_, values) => values.map(when) },
        { ...axis, size: 60, space: 34, values: (_, values) => values.map((value) => `${+(value * 100).toPrecision(3)} %`) },
      ],
      series: [{}, line("line-1", { fill: `${colour("line-1")}22`, fillTo: 0 }), line("unknown", { width: 1.25, dash: [6, 5] }), line("warning", { dash: [2, 4] })],
    }, joined, target);
  }
  async function load() {
    if (document.hidden) return;
    try {
      const answer = await fetch(box.dataset.points);
      if (!answer.ok) { say("it cannot be shown"); return; }
      found = await answer.json();
    } catch { if (!found) say("no connection to opsbook"); return; }
    draw();
  }
  setInterval(load, 30000);
  document.addEventListener("visibilitychange", load);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => found && draw());
  let width = box.clientWidth;
  new ResizeObserver(() => { if (box.clientWidth !== width && found) { width = box.clientWidth; draw(); } }).observe(box);
  load();
})();
