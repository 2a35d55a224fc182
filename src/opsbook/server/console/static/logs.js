// Follows logs: new lines come on top; while somebody has scrolled down they wait, and are counted.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("log-follow");
  const list = document.getElementById("log");
  const told = document.getElementById("log-told");
  if (!button || !list || !window.EventSource) return;
  const MOST = 1000;
  let source = null;
  let waiting = [];
  let due = false;

  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const link = (address, text) => {
    const made = element("a", "", text);
    made.href = address;
    return made;
  };
  const narrowed = (name, value) => {
    const address = new URL(location.href);
    address.searchParams.set(name, value);
    return address.pathname + address.search;
  };
  const line = (record) => {
    const made = element("li", `log-line log-is-${record.level || "none"}`);
    const details = element("details");
    const summary = element("summary");
    const time = element("span", "log-time", new Date(record.at * 1000).toISOString().slice(5, 23).replace("T", " "));
    summary.append(time, " ", element("span", "log-level", record.level || "–"), " ",
      element("span", "log-origin", record.instance || record.service || "–"), " ",
      element("span", "log-text", record.text));
    const said = element("dl");
    const add = (name, value) => said.append(element("dt", "", name), value);
    for (const name of ["service", "environment", "instance"]) {
      if (!record[name]) continue;
      const cell = element("dd");
      cell.append(link(narrowed(name, record[name]), record[name]));
      add(name, cell);
    }
    if (record.release) add("release", element("dd", "", record.release));
    if (record.trace_id) {
      const cell = element("dd");
      cell.append(link(`/traces/${encodeURIComponent(record.trace_id)}`, record.trace_id));
      add("trace", cell);
    }
    for (const [name, value] of Object.entries(record.fields)) add(name, element("dd", "", value));
    details.append(summary, said);
    made.append(details);
    return made;
  };
  const atTop = () => list.getBoundingClientRect().top > -40 && !list.querySelector("details[open]");
  const draw = () => {
    due = false;
    if (!waiting.length) return;
    if (!atTop()) {
      told.textContent = `${waiting.length} new, `;
      const show = element("button", "", "show");
      show.type = "button";
      show.addEventListener("click", () => { place(); scrollTo({ top: 0 }); });
      told.append(show);
      return;
    }
    place();
  };
  const place = () => {
    const all = document.createDocumentFragment();
    for (const record of waiting.reverse()) all.append(line(record));
    waiting = [];
    list.prepend(all);
    while (list.children.length > MOST) list.lastElementChild.remove();
    const empty = document.getElementById("log-empty");
    if (empty) empty.remove();
    told.textContent = "following";
  };
  const schedule = () => {
    if (!due) { due = true; setTimeout(draw, 250); }
  };
  const end = (why) => {
    if (source) source.close();
    source = null;
    button.textContent = "Follow";
    button.setAttribute("aria-pressed", "false");
    told.textContent = why;
  };
  const begin = () => {
    source = new EventSource(button.dataset.live);
    button.textContent = "Stop following";
    button.setAttribute("aria-pressed", "true");
    told.textContent = "connecting";
    source.onopen = () => { told.textContent = "following"; };
    source.onmessage = (event) => {
      waiting.push(JSON.parse(event.data));
      if (waiting.length > MOST) waiting.splice(0, waiting.length - MOST);
      schedule();
    };
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) end("the connection has ended");
      else told.textContent = "not connected, trying again";
    };
  };
  button.hidden = false;
  button.addEventListener("click", () => { if (source) end(""); else begin(); });
  addEventListener("pagehide", () => { if (source) source.close(); });
  addEventListener("scroll", () => { if (waiting.length) schedule(); }, { passive: true });
});
