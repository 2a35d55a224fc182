/* Charts over a stretch of time: zoom by dragging, the range in the address, deployments and alerts marked, compared
   with a week ago; refreshed in place, without a jump. Without this there are tables (?view=table). */
"use strict";
(() => {
  const board = document.getElementById("panels");
  if (!board || !window.uPlot) return;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const LINES = 5;
  const fonts = () => `12px ${getComputedStyle(document.body).fontFamily}`;

  /* --- what is shown */
  const asked = () => {
    const found = new URLSearchParams(location.search);
    if (!found.has("range") && !found.has("from")) {
      if (board.dataset.from) found.set("from", board.dataset.from), found.set("to", board.dataset.to);
      else found.set("range", board.dataset.range || "1h");
    }
    found.delete("view");
    return found;
  };
  const moving = () => !asked().has("from");
  const lengths = { m: 60, h: 3600, d: 86400, w: 604800, s: 1 };
  function span() {
    const found = asked();
    if (found.has("from")) return [Number(found.get("from")) || Date.parse(found.get("from")) / 1000, found.has("to") ? Number(found.get("to")) || Date.parse(found.get("to")) / 1000 : Date.now() / 1000];
    const parts = [...found.get("range").matchAll(/(\d+(?:\.\d+)?)([smhdw])/g)];
    const seconds = parts.reduce((sum, [, number, unit]) => sum + number * lengths[unit], 0) || 3600;
    return [Date.now() / 1000 - seconds, Date.now() / 1000];
  }
  function go(changes, replace) {
    const found = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) value === null ? found.delete(name) : found.set(name, value);
    if (found.toString() === new URLSearchParams(location.search).toString()) return;
    history[replace ? "replaceState" : "pushState"](null, "", `${location.pathname}?${found}`);
    shown();
  }
  function shown() {
    const found = asked();
    for (const link of document.querySelectorAll("a[data-span]")) {
      const wanted = new URL(link.href).searchParams;
      const on = link.dataset.span === "compare" ? found.has("compare") : !found.has("from") && wanted.get("range") === found.get("range");
      if (link.dataset.span === "range") on ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
      else if (link.dataset.span === "compare") link.setAttribute("aria-pressed", String(on));
    }
    for (const link of document.querySelectorAll("a[data-follows]")) {
      const wanted = new URLSearchParams(location.search);
      wanted.set("view", "table");
      link.href = `${location.pathname}?${wanted}`;
    }
    const out = document.getElementById("zoomed");
    if (out) {
      out.hidden = moving();
      const [from, to] = span();
      out.querySelector("span").textContent = moving() ? "" : `${when(from, to - from, true)} – ${when(to, to - from, true)}`;
    }
    for (const panel of panels) panel.stale = true;
    look();
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-span]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const wanted = new URL(link.href).searchParams;
    if (link.dataset.span === "back") go({ from: null, to: null });
    else if (link.dataset.span === "compare") go({ compare: asked().has("compare") ? null : "1" });
    else go({ range: wanted.get("range"), from: null, to: null });
  });
  addEventListener("popstate", shown);
  /* Forms take along what was chosen since they came. */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.follows === undefined) return;
    for (const field of form.querySelectorAll("[data-kept]")) field.remove();
    const found = new URLSearchParams(location.search);
    for (const name of ["range", "from", "to", "compare"]) {
      if (found.has(name)) form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value: found.get(name) }));
    }
  });

  /* --- words */
  const two = (number) => String(number).padStart(2, "0");
  function when(at, seconds, whole) {
    const moment = new Date(at * 1000);
    const day = `${moment.getDate()} ${moment.toLocaleString("en", { month: "short" })}`;
    const time = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
    if (seconds <= 900 && !whole) return `${time}:${two(moment.getSeconds())}`;
    if (seconds > 86400 * 3 && !whole) return day;
    return seconds > 86400 || whole ? `${day} ${time}` : time;
  }
  const short = (value) => String(+value.toPrecision(3));
  const scaled = (value, units, each) => {
    let index = 0;
    while (Math.abs(value) >= each && index < units.length - 1) { value /= each; index += 1; }
    return `${short(value)} ${units[index]}`.trim();
  };
  const words = {
    ratio: (value) => `${Math.abs(value) < 0.01 ? +(value * 100).toPrecision(2) : short(value * 100)} %`,
    seconds: (value) => (value === 0 ? "0" : Math.abs(value) < 1 ? `${short(value * 1000)} ms` : `${short(value)} s`),
    "1/s": (value) => `${scaled(value, ["", "k", "M"], 1000)}/s`.replace(" /", "/"),
    bytes: (value) => scaled(value, ["B", "KiB", "MiB", "GiB", "TiB"], 1024),
    "bytes/s": (value) => `${scaled(value, ["B", "KiB", "MiB", "GiB"], 1024)}/s`,
    count: (value) => scaled(value, ["", "k", "M", "G"], 1000),
  };
  const binary = Array.from({ length: 60 }, (_, power) => 2 ** power); // bytes are round in powers of two
  const say = (unit, value) => (value === null || value === undefined ? "–" : (words[unit] || words.count)(value));

  /* --- marks: deployments are lines, alerts are bands */
  let marks = [];
  function drawMarks(u) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio || 1;
    const x = (at) => Math.min(Math.max(u.valToPos(at, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    const lines = marks.filter((mark) => mark.until === null);
    for (const mark of marks) {
      // Where one thing follows the other within some pixels, what came of it matters.
      const soon = (other) => other.at > mark.at && (x(other.at) - x(mark.at)) < 16 * ratio;
      if (mark.until === null && mark.state === "running" && lines.some(soon)) continue;
      if (mark.until !== null) {
        const left = x(mark.at);
        ctx.globalAlpha = 0.13;
        ctx.fillStyle = colour(mark.state);
        ctx.fillRect(left, bbox.top, Math.max(x(mark.until) - left, ratio), bbox.height);
        ctx.globalAlpha = 1;
        ctx.fillRect(left, bbox.top, Math.max(x(mark.until) - left, 2 * ratio), 3 * ratio);
      } else if (mark.at >= u.scales.x.min && mark.at <= u.scales.x.max) {
        const at = Math.round(x(mark.at)) + 0.5;
        ctx.strokeStyle = ctx.fillStyle = colour(mark.state);
        ctx.lineWidth = ratio;
        ctx.setLineDash([4 * ratio, 3 * ratio]);
        ctx.beginPath();
        ctx.moveTo(at, bbox.top);
        ctx.lineTo(at, bbox.top + bbox.height);
        ctx.stroke();
        ctx.beginPath();
        ctx.moveTo(at - 4 * ratio, bbox.top);
        ctx.lineTo(at + 4 * ratio, bbox.top);
        ctx.lineTo(at, bbox.top + 7 * ratio);
        ctx.fill();
      }
    }
    ctx.restore();
  }
  function drawLimit(u, limit) {
    if (limit === null || limit > u.scales.y.max) return;
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio || 1;
    const y = Math.round(u.valToPos(limit, "y", true)) + 0.5;
    ctx.save();
    ctx.strokeStyle = colour("critical");
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }
  const feed = document.getElementById("marks");
  async function loadMarks() {
    if (!board.dataset.marks) return;
    try {
      const answer = await fetch(`${board.dataset.marks}?${asked()}`);
      if (!answer.ok) return;
      marks = (await answer.json()).marks;
    } catch { return; }
    for (const panel of panels) panel.plot?.redraw();
    if (!feed) return;
    const items = [...marks].reverse().slice(0, 30).map((mark) => {
      const item = document.createElement("li");
      const state = item.appendChild(document.createElement("span"));
      state.className = `state ${mark.state}`;
      state.textContent = mark.until === null ? "▾" : "▬";
      const text = item.appendChild(document.createElement("span"));
      const said = text.appendChild(document.createElement(mark.href ? "a" : "span"));
      if (mark.href) said.href = mark.href;
      said.textContent = mark.text;
      const small = item.appendChild(document.createElement("small"));
      small.className = "muted";
      small.textContent = when(mark.at, 0, true);
      return item;
    });
    if (items.map((one) => one.textContent).join() !== [...feed.children].map((one) => one.textContent).join()) feed.replaceChildren(...items);
    feed.closest("section").hidden = !items.length;
  }

  /* --- one panel */
  class Panel {
    constructor(box) {
      this.box = box;
      this.target = box.querySelector("[data-plot]");
      this.legend = box.querySelector("[data-legend]");
      this.details = box.querySelector("details");
      this.stale = true;
      this.visible = false;
      this.due = 0;
      this.plot = null;
      this.details?.addEventListener("toggle", () => this.tabled());
    }
    async load() {
      if (this.loading) return;
      this.loading = true;
      this.stale = false;
      const query = asked();
      const wanted = query.toString();
      if (this.target.dataset.plot) query.set("panel", this.target.dataset.plot);
      query.set("width", Math.max(100, this.target.clientWidth));
      try {
        const answer = await fetch(`${board.dataset.charts}?${query}`);
        const found = await answer.json().catch(() => ({}));
        if (wanted !== asked().toString()) this.stale = true; // another range was chosen meanwhile
        else if (!answer.ok) this.fail(found.message || found.error?.message || "it cannot be shown");
        else this.draw(found);
      } catch { if (!this.chart) this.fail("no connection to opsbook"); }
      this.loading = false;
      this.due = Date.now() + Math.max(5, Math.min(this.chart?.step || 5, 300)) * 1000;
      if (this.stale) look();
    }
    fail(text) {
      this.plot?.destroy();
      this.plot = this.chart = null;
      this.empty(text);
      this.legend.replaceChildren();
    }
    empty(text) {
      let none = this.target.querySelector(".none");
      if (!text) { none?.remove(); return; }
      if (!none) { none = document.createElement("p"); none.className = "none"; this.target.append(none); }
      none.textContent = text;
    }
    draw(chart) {
      const shape = (one) => one && JSON.stringify([one.unit, one.limit, one.lines.map((line) => [line.name, line.before])]);
      const same = this.plot && shape(this.chart) === shape(chart) && this.plot.width === this.target.clientWidth;
      this.chart = chart;
      const count = Math.round((chart.end - chart.start) / chart.step) + 1;
      const at = Float64Array.from({ length: count }, (_, index) => chart.start + index * chart.step);
      const data = [at, ...chart.lines.map((line) => line.values)];
      this.span = span();
      if (!same) { this.plot?.destroy(); this.plot = this.make(chart, data); }
      else this.plot.setData(data);
      this.empty(chart.lines.length ? "" : "no data in this time");
      this.legends();
      this.tabled();
    }
    make(chart, data) {
      let number = -1;
      const names = new Map();
      const series = chart.lines.map((line) => {
        if (!line.before) names.set(line.name, (number += 1));
        const stroke = colour(`line-${((line.before ? names.get(line.name) ?? 0 : number) % LINES) + 1}`);
        const alone = (u, index) => {
          const values = u.data[index];
          const found = [];
          for (let i = 0; i < values.length; i += 1) if (values[i] !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null) found.push(i);
          return found;
        };
        return { label: line.name, stroke, alpha: line.before ? 0.6 : 1, width: line.before ? 1.25 : 2, dash: line.before ? [3, 4] : undefined, spanGaps: false, points: { show: true, size: 4, fill: stroke, stroke, filter: alone } };
      });
      const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: fonts() };
      const top = (low, high) => {
        const limit = chart.limit !== null && high > chart.limit * 0.5 ? chart.limit : 0;
        const least = { ratio: 0.01, seconds: 0.01, count: 1, "1/s": 1, bytes: 1024, "bytes/s": 1024 }[chart.unit] || 1;
        return Math.max(high || 0, limit, least) * 1.12;
      };
      const plot = new uPlot({
        width: this.target.clientWidth, height: this.target.clientHeight,
        legend: { show: false },
        cursor: { sync: { key: "panels", setSeries: false, filters: { pub: (type) => !/mouse(down|up)|dblclick/.test(type) } }, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, y: false },
        scales: { x: { time: true, range: () => this.span }, y: { range: (_, low, high) => [Math.min(0, low || 0), top(low, high)] } },
        axes: [
          { ...axis, space: 64, size: 28, values: (_, values) => values.map((value) => when(value, this.span[1] - this.span[0])) },
          { ...axis, size: 68, space: 34, incrs: chart.unit.startsWith("bytes") ? binary : undefined, values: (_, values) => values.map((value) => say(chart.unit, value)) },
        ],
        series: [{}, ...series],
        hooks: {
          drawClear: [drawMarks],
          draw: [(u) => drawLimit(u, chart.limit)],
          setCursor: [() => this.legends()],
          setSelect: [(u) => {
            if (u.select.width < 4) return;
            const [from, to] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
            u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            if (to - from >= 10) go({ from: Math.round(from), to: Math.round(to) });
          }],
        },
      }, data, this.target);
      plot.over.addEventListener("dblclick", () => moving() || go({ from: null, to: null }));
      return plot;
    }
    /* The values under the pointer, else the last ones. */
    legends() {
      const { chart, plot } = this;
      if (!chart || !plot) return;
      const index = plot.cursor.idx;
      const before = new Map(chart.lines.filter((line) => line.before).map((line) => [line.name, line.values]));
      const value = (values) => (index !== null && index !== undefined ? values[index] : values.findLast((one) => one !== null));
      const now = chart.lines.filter((line) => !line.before);
      const texts = now.map((line) => [line.name, say(chart.unit, value(line.values)) + (before.has(line.name) ? ` (${say(chart.unit, value(before.get(line.name)))} a week ago)` : "")]);
      if (this.legend.childElementCount !== texts.length + (chart.more ? 1 : 0)) {
        this.legend.replaceChildren(...texts.map((_, number) => {
          const key = document.createElement("span");
          key.className = `key line-${(number % LINES) + 1}`;
          key.append(document.createElement("span"), " ", document.createElement("b"));
          return key;
        }));
        if (chart.more) this.legend.append(Object.assign(document.createElement("span"), { className: "more" }));
      }
      texts.forEach(([name, text], number) => {
        const [label, figure] = this.legend.children[number].children;
        if (label.textContent !== name) label.textContent = name;
        if (figure.textContent !== text) figure.textContent = text;
      });
      if (chart.more) this.legend.lastElementChild.textContent = `and ${chart.more} more`;
    }
    tabled() {
      if (!this.details?.open || !this.chart) return;
      const place = this.details.querySelector("[data-table]");
      const { lines, start, step, unit } = this.chart;
      const table = document.createElement("table");
      const head = table.createTHead().insertRow();
      for (const name of ["Time", ...lines.map((line) => (line.before ? `${line.name}, a week ago` : line.name))]) head.appendChild(document.createElement("th")).textContent = name;
      const rows = table.createTBody();
      const length = lines[0]?.values.length || 0;
      const each = Math.max(1, Math.ceil(length / 60));
      for (let index = length - 1; index >= 0; index -= each) {
        const row = rows.insertRow();
        row.insertCell().textContent = when(start + index * step, 0, true) + (step < 60 ? `:${two(new Date((start + index * step) * 1000).getSeconds())}` : "");
        for (const line of lines) row.insertCell().textContent = say(unit, line.values[index]);
      }
      const scroll = place.scrollTop;
      place.replaceChildren(table);
      place.scrollTop = scroll;
    }
    again() { if (this.chart) { this.plot?.destroy(); this.plot = null; this.draw(this.chart); } }
  }
  const panels = [...board.querySelectorAll("[data-panel]")].map((box) => new Panel(box));

  /* --- when something is fetched: what is seen, when it is due */
  let marksDue = 0;
  function look() {
    if (document.hidden) return;
    const now = Date.now();
    for (const panel of panels) if (panel.visible && (panel.stale || (moving() && now >= panel.due))) panel.load();
    if (panels.some((panel) => panel.stale) || now >= marksDue) { marksDue = now + 10000; loadMarks(); }
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) panels.find((panel) => panel.box === entry.target).visible = entry.isIntersecting;
    look();
  }, { rootMargin: "200px" });
  for (const panel of panels) seen.observe(panel.box);
  setInterval(look, 1000);
  document.addEventListener("visibilitychange", look);
  document.addEventListener("resync", () => { marksDue = 0; look(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.forEach((panel) => panel.again()));
  let width = board.clientWidth;
  let resized = 0;
  new ResizeObserver(() => {
    if (board.clientWidth === width) return;
    width = board.clientWidth;
    clearTimeout(resized);
    resized = setTimeout(() => panels.forEach((panel) => { panel.again(); panel.stale = true; }), 150);
  }).observe(board);
  shown();
})();
