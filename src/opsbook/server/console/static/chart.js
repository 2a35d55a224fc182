/* A canary against stable: the difference within its bounds, where it crossed, and the raw pair below. */
"use strict";
(() => {
  const box = document.getElementById("chart");
  if (!box || !window.uPlot) return;
  const known = new Map();
  const plots = [];
  const mark = { crossed: null, steps: [] };
  let due = false;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const clock = (at) => new Date(at * 1000).toTimeString().slice(0, 8);
  const percent = (value) => `${+(value * 100).toPrecision(3)} %`;

  /* Typed columns; between two steps of the canary, where counting begins anew, there is a gap. */
  function columns() {
    const points = [...known.values()].sort((a, b) => a.at - b.at);
    const rows = [];
    mark.steps = [];
    mark.crossed = null;
    points.forEach((point, index) => {
      const before = points[index - 1];
      if (before && before.step !== undefined && before.step !== point.step) {
        rows.push([(before.at + point.at) / 2, null, null, null, null, null]);
        mark.steps.push(point.at);
      }
      if (mark.crossed === null && point.lower !== null && point.lower > 0) mark.crossed = point.at;
      const rate = (side) => (side.requests ? side.rate : null);
      rows.push([point.at, point.difference, point.lower, point.upper, rate(point.canary), rate(point.stable)]);
    });
    const column = (index) => rows.map((row) => row[index]);
    const at = Float64Array.from(column(0));
    return { difference: [at, column(1), column(2), column(3)], pair: [at, column(4), column(5)], rows };
  }
  function reach(rows) {
    /* The first bounds are as wide as can be: the later ones say what matters. */
    const later = rows.slice(Math.floor(rows.length / 3)).filter((row) => row[2] !== null);
    const most = Math.max(0.01, ...later.map((row) => Math.max(Math.abs(row[2]), Math.abs(row[3]))));
    return Math.min(1, most * 1.15);
  }
  let limit = 1;
  let top = 0.01;

  function lines(u) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio || 1;
    const upright = (at, paint, dash, text) => {
      const x = Math.round(u.valToPos(at, "x", true)) + 0.5;
      if (x < bbox.left || x > bbox.left + bbox.width) return;
      ctx.strokeStyle = ctx.fillStyle = paint;
      ctx.lineWidth = ratio;
      ctx.setLineDash(dash.map((one) => one * ratio));
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (!text) return;
      ctx.font = `600 ${12 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
      const right = x + ctx.measureText(text).width + 8 * ratio > bbox.left + bbox.width;
      ctx.textAlign = right ? "right" : "left";
      ctx.textBaseline = "bottom";
      ctx.fillText(text, x + (right ? -6 : 6) * ratio, bbox.top + bbox.height - 6 * ratio);
    };
    ctx.save();
    if (u.zero) {
      const y = Math.round(u.valToPos(0, "y", true)) + 0.5;
      ctx.strokeStyle = colour("muted");
      ctx.lineWidth = ratio;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    for (const at of mark.steps) upright(at, colour("muted"), [2, 3], "");
    if (mark.crossed !== null) upright(mark.crossed, colour("critical"), [], u.zero ? "worse than stable" : "");
    ctx.restore();
  }

  function make(name, series, extra) {
    const target = box.querySelector(`[data-plot="${name}"]`);
    if (!target) return null; // outside a canary there is nothing to differ from
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(document.body).fontFamily}` };
    const plot = new uPlot({
      width: target.clientWidth, height: target.clientHeight,
      legend: { show: false }, cursor: { sync: { key: "canary" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, range: (_, low, high) => [low, Math.max(high, low + 60)] }, y: extra.scale },
      axes: [{ ...axis, space: 80, size: 28, values: (_, values) => values.map(clock) }, { ...axis, size: 64, values: (_, values) => values.map(percent) }],
      series: [{}, ...series], bands: extra.bands, hooks: { draw: [lines] },
    }, null, target);
    plot.zero = extra.zero;
    target.querySelector(".none")?.remove();
    return plot;
  }
  function draw() {
    due = false;
    if (!known.size || document.hidden) return;
    const found = columns();
    limit = reach(found.rows);
    top = Math.max(0.01, ...found.rows.slice(Math.floor(found.rows.length / 3)).map((row) => Math.max(row[4] || 0, row[5] || 0)));
    if (!plots.length) {
      const faint = { stroke: "transparent", width: 0, points: { show: false } };
      plots.push(make("difference", [{ stroke: colour("canary"), width: 2, points: { show: false } }, faint, faint],
        { scale: { range: () => [-limit, limit] }, bands: [{ series: [3, 2], fill: colour("band") }], zero: true }));
      plots.push(make("pair", [{ stroke: colour("canary"), width: 2, points: { show: false } }, { stroke: colour("stable"), width: 2, dash: [6, 4], points: { show: false } }],
        { scale: { range: () => [0, Math.min(1, top * 1.15)] }, zero: false }));
    }
    plots[0]?.setData(found.difference);
    plots[1].setData(found.pair);
  }
  const later = () => { if (!due) { due = true; requestAnimationFrame(draw); } };
  function take(points) {
    for (const point of points) known.set(point.at, point);
    later();
  }
  async function load() {
    try {
      /* A little of what is known already: the last ones may have been on their way. */
      const newest = Math.max(0, ...known.keys());
      const answer = await fetch(`${box.dataset.points}?after=${Math.max(0, newest - 5)}`);
      if (answer.ok) take((await answer.json()).points);
    } catch { /* the page says that there is no connection */ }
  }
  const again = () => { while (plots.length) plots.pop().destroy(); later(); };
  document.addEventListener("points", (event) => event.detail.topic === box.dataset.topic && take(event.detail.points));
  document.addEventListener("resync", load);
  document.addEventListener("visibilitychange", () => document.hidden || load());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let width = box.clientWidth;
  new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; again(); } }).observe(box);
  load();
})();
