/* Makes pages live, where they can be: they work without this, too. */
"use strict";

/* Times: the server says UTC, the reader sees how long ago, or their own clock. */
const two = (number) => String(number).padStart(2, "0");
const span = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d ${Math.floor((whole % 86400) / 3600)}h`;
};
const ago = (seconds) => {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h ago`;
  return `${Math.floor(seconds / 86400)}d ago`;
};
const timeOfDay = (moment) => `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
function showTime(element, now) {
  const moment = new Date(element.dateTime);
  const seconds = (now - moment) / 1000;
  let text;
  if (element.className === "since") text = span(seconds);
  else if (element.className === "until") text = seconds > 0 ? "time is over" : `for ${span(-seconds)}`;
  else if (element.className === "due") text = seconds > 0 ? `${span(seconds)} overdue` : `in ${span(-seconds)}`;
  else if (element.className === "clock") {
    const today = moment.toDateString() === new Date(now).toDateString();
    const year = moment.getFullYear() === new Date(now).getFullYear() ? "" : ` ${moment.getFullYear()}`;
    text = today ? timeOfDay(moment) : `${moment.getDate()} ${moment.toLocaleString("en", { month: "short" })}${year} ${timeOfDay(moment).slice(0, 5)}`;
  } else text = ago(seconds);
  if (element.textContent !== text) element.textContent = text;
  if (!element.title) element.title = moment.toLocaleString();
}
function showTimes() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time")) showTime(element, now);
}
showTimes();
setInterval(() => document.hidden || showTimes(), 1000);

/* On a phone the rooms are a strip: the one that we are in is to be seen. */
const room = document.querySelector(".top nav [aria-current]");
if (room) room.parentElement.scrollLeft = room.offsetLeft - (room.parentElement.clientWidth - room.offsetWidth) / 2;

/* Live: we are told that something changed, and fetch it; nothing moves under the pointer. */
const live = document.getElementById("live");
const pill = document.getElementById("pill");
const topics = (document.body.dataset.topics || "").split(" ").filter(Boolean);
let heard = Date.now();
let held = null; // an answer that waits for the pointer to leave
let stale = false;
let unseen = 0;

if (window.Idiomorph) {
  const before = Idiomorph.defaults.callbacks.beforeNodeMorphed;
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old, fresh) => {
    if (old.nodeType === 1) {
      if (old.dataset.keep !== undefined) return false; // a chart draws itself
      if (old.dataset.followed !== undefined && fresh.dataset.output === old.dataset.output) return false; // what a step writes comes by itself
      if (old.tagName === "TIME" && old.dateTime === fresh.dateTime) return false; // and so does a time
      if (old.tagName === "DETAILS" && old.open) fresh.open = true;
      if (old.tagName === "FORM" && isDirty(old)) return false;
    }
    return before(old, fresh);
  };
}
const isDirty = (form) => [...form.elements].some((one) => one.type !== "hidden" &&
  (one.tagName === "SELECT" ? [...one.options].some((o) => o.selected !== o.defaultSelected) : one.value !== one.defaultValue));

/* What was typed when the session ended is there again after signing in. */
const DRAFTS = "opsbook-drafts";
const inputs = (form) => [...form.elements].filter((one) => one.name && !["hidden", "password", "submit", "button", "file"].includes(one.type));
function remember(forms, mark) {
  const found = forms.map((form) => [form.action, inputs(form).map((one) => [one.name, one.type === "checkbox" ? one.checked : one.value])]);
  sessionStorage.setItem(DRAFTS, JSON.stringify({ mark, found }));
}
function signInAgain() {
  const forms = [...document.forms].filter((form) => form.method === "post" && isDirty(form));
  if (forms.length) remember(forms, "kept");
  location.reload();
}
function restore() {
  const kept = JSON.parse(sessionStorage.getItem(DRAFTS) || "null");
  if (!kept || kept.mark !== "kept") return;
  for (const [action, values] of kept.found) {
    const form = [...document.forms].find((one) => one.action === action);
    for (const [name, value] of form ? values : []) {
      const one = form.elements.namedItem(name);
      if (one && one.type === "checkbox") one.checked = value; else if (one) one.value = value;
    }
    if (form) sessionStorage.removeItem(DRAFTS);
  }
}
if (document.querySelector(".signin")) {
  const sent = JSON.parse(sessionStorage.getItem(DRAFTS) || "null");
  if (sent) sessionStorage.setItem(DRAFTS, JSON.stringify({ ...sent, mark: "kept" }));
} else {
  if ((sessionStorage.getItem(DRAFTS) || "").includes('"mark":"sent"')) sessionStorage.removeItem(DRAFTS); // it has arrived
  restore();
}

function say(text, act) {
  pill.hidden = !text;
  if (!text) return;
  pill.querySelector("span").textContent = text;
  pill.firstElementChild.onclick = () => { say(""); act(); };
}
function refresh(asked) {
  if (document.hidden) { stale = true; return; }
  if (live.dataset.ask && !asked) {
    unseen += 1;
    say(live.dataset.ask.replace(/^/, unseen > 1 ? `${unseen} ` : ""), () => { unseen = 0; refresh(true); });
    return;
  }
  window.htmx && htmx.trigger(live, "refresh");
}
const order = (root) => [...root.querySelectorAll("[data-ranked] tbody tr")].map((row) => row.id).join();
const pointed = () => matchMedia("(hover: hover)").matches && live.querySelector("[data-ranked] tbody:hover");

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target !== live) return;
  const status = event.detail.xhr.status;
  if (status === 401) { signInAgain(); return; }
  if (status >= 400) { event.detail.shouldSwap = false; return; }
  const fresh = new DOMParser().parseFromString(event.detail.serverResponse, "text/html");
  if (pointed() && order(fresh) !== order(live)) {
    event.detail.shouldSwap = false;
    held = event.detail.serverResponse;
    say("The order changed", showHeld);
  } else { held = null; if (!live.dataset.ask) say(""); }
});
function showHeld() {
  if (held === null) return;
  Idiomorph.morph(live, held, { morphStyle: "innerHTML" });
  htmx.process(live);
  held = null;
  say("");
  showTimes();
}
live.addEventListener("pointerout", () => held !== null && setTimeout(() => pointed() || showHeld(), 300));
document.addEventListener("htmx:afterSwap", showTimes);

/* The connection: a page that is not live never looks as if it were. */
const connection = document.getElementById("connection");
const lost = document.getElementById("lost");
function connected(yes) {
  if (!connection) return;
  document.body.classList.toggle("disconnected", !yes);
  connection.dataset.state = yes ? "live" : "lost";
  connection.querySelector("span").textContent = yes ? "live" : "not live";
  connection.querySelector("use").setAttribute("href", connection.querySelector("use").getAttribute("href").replace(/#.*/, yes ? "#ok" : "#critical"));
  lost.hidden = yes;
  if (!yes) lost.textContent = `No connection to opsbook: this is how things were at ${timeOfDay(new Date(heard))}`;
}
let source = null;
let silence = 0;
function follow() {
  source && source.close();
  source = new EventSource(`/live?${topics.map((topic) => `topics=${encodeURIComponent(topic)}`).join("&")}`);
  const alive = () => {
    heard = Date.now();
    clearTimeout(silence);
    silence = 0;
    connected(true);
  };
  source.addEventListener("beat", alive);
  source.onopen = () => document.dispatchEvent(new Event("resync")); // what came between loading and following
  source.addEventListener("resync", () => { alive(); refresh(); document.dispatchEvent(new Event("resync")); });
  source.addEventListener("changed", () => { alive(); refresh(); });
  source.addEventListener("points", (event) => {
    alive();
    document.dispatchEvent(new CustomEvent("points", { detail: JSON.parse(event.data) }));
  });
  source.onerror = () => {
    silence = silence || setTimeout(() => connected(false), 3000);
    if (source.readyState === EventSource.CLOSED) setTimeout(again, 3000); // refused, not broken: ask why
  };
}
async function again() {
  try {
    const answer = await fetch(live.getAttribute("hx-get"), { headers: { accept: "application/json" } });
    if (answer.status === 401) { signInAgain(); return; }
  } catch { /* still away */ }
  follow();
}
if (topics.length && window.EventSource) {
  if (connection) connection.querySelector("span").textContent = "connecting";
  follow();
  setInterval(() => { if (Date.now() - heard > 25000) { connected(false); follow(); refresh(); } }, 5000);
  document.addEventListener("visibilitychange", () => {
    // Telephones end streams without a word while nobody looks.
    if (document.hidden) return;
    showTimes();
    if (source.readyState !== EventSource.OPEN || Date.now() - heard > 15000) follow();
    if (stale || Date.now() - heard > 5000) { stale = false; refresh(); document.dispatchEvent(new Event("resync")); }
  });
}

/* Sheets: the page that asks once more, over the page one is on. */
const sheet = document.getElementById("sheet");
const body = document.getElementById("sheet-body");
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.dataset.close !== undefined && sheet.open) { event.preventDefault(); sheet.close(); return; }
  if (link.dataset.sheet === undefined || !window.htmx) return;
  event.preventDefault();
  if (link.ariaBusy || sheet.open) return; // it is on its way
  const address = new URL(link.href);
  address.searchParams.set("region", "sheet");
  link.ariaBusy = "true";
  const answer = await fetch(address).catch(() => null);
  link.ariaBusy = null;
  if (!answer || !answer.ok) { location.href = link.href; return; }
  body.innerHTML = await answer.text();
  const form = body.querySelector("form");
  if (form) form.action = link.href.split("?")[0];
  restore();
  sheet.showModal();
  // On a telephone a field brings up the keyboard, over half of what is asked: only where one has to write.
  const field = matchMedia("(pointer: coarse)").matches ? "[required]" : "input:not([type=hidden]), select";
  (body.querySelector(field) || body.querySelector("button, a")).focus();
});

/* What is dangerous is held down for a moment, or pressed twice. */
let holding = 0;
const arm = (button) => {
  if (button.classList.contains("armed")) return true;
  button.classList.add("armed");
  button.textContent = `${button.textContent.trim()}: press again`;
  setTimeout(() => { if (button.isConnected) { button.classList.remove("armed"); button.textContent = button.textContent.replace(": press again", ""); } }, 5000);
  return false;
};
document.addEventListener("pointerdown", (event) => {
  const button = event.target.closest("[data-hold]");
  if (!button) return;
  button.classList.add("held");
  holding = setTimeout(() => { button.classList.add("armed"); button.form.requestSubmit(button); }, 700);
});
for (const end of ["pointerup", "pointercancel", "pointerout"]) {
  document.addEventListener(end, (event) => {
    const button = event.target.closest && event.target.closest("[data-hold]");
    if (button) { clearTimeout(holding); button.classList.remove("held"); }
  });
}
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("[data-hold]");
  if (button && !arm(button)) { event.preventDefault(); return; }
  if (event.target.dataset.sent) event.preventDefault();
  else if (event.target.method === "post") {
    event.target.dataset.sent = "yes";
    if (event.target.action.endsWith("/sign-out")) sessionStorage.removeItem(DRAFTS);
    else if (!document.querySelector(".signin")) remember([event.target], "sent");
  }
});
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
