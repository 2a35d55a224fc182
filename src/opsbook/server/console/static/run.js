/* Follows what a run writes: lines travel as they come, everything else is fetched as on every page. */
"use strict";
(() => {
  const wanted = () => document.getElementById("steps")?.dataset.liveRun;
  const MOST = 64 * 1024; // characters that are shown while it runs; all that is kept is a link away
  const PART = 4 * 1024; // of it that comes and goes at once
  const COMMAND = /\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]/g;
  const HUES = ["", "red", "green", "yellow", "blue", "magenta", "cyan", ""];
  let step = "";
  let pending = ""; // came, and is not drawn yet
  let open = ""; // a line that has no end yet
  let look = { weight: "", hue: "" };
  let parts = []; // what is drawn, in pieces that can be taken away at the top
  let size = 0;
  let box = null;
  let due = false;
  let following = false;

  const begin = (name) => { step = name; pending = open = ""; look = { weight: "", hue: "" }; parts = []; size = 0; box = null; };
  const part = () => ({ node: Object.assign(document.createElement("span"), { className: "part" }), size: 0 });
  const last = part();

  /* The same as `colours.py`: colours stay, what else terminals are told goes. */
  const after = (codes, was) => {
    let { weight, hue } = was;
    const numbers = codes.slice(0, 64).split(";").map(Number);
    while (numbers.length) {
      const one = numbers.shift();
      if (one === 0) weight = hue = "";
      else if (one === 1) weight = "ansi-bold";
      else if (one === 2) weight = "ansi-dim";
      else if (one === 22) weight = "";
      else if (one === 39) hue = "";
      else if (one === 38 || one === 48) { numbers.splice(0, numbers[0] === 5 ? 2 : 4); if (one === 38) hue = ""; }
      else if ((one >= 30 && one <= 37) || (one >= 90 && one <= 97)) hue = HUES[one % 10] && `ansi-${HUES[one % 10]}`;
    }
    return { weight, hue };
  };
  const paint = (text, into, from) => {
    let now = from;
    const put = (said) => {
      if (!said) return;
      const names = `${now.weight} ${now.hue}`.trim();
      if (!names) { into.append(said); return; }
      const span = document.createElement("span");
      span.className = names;
      span.textContent = said;
      into.append(span);
    };
    let at = 0;
    const shown = text.replace(/\r\n/g, "\n").replace(/^.*\r(?=[^\r\n])/gm, "").replaceAll("\r", "");
    for (const found of shown.matchAll(COMMAND)) {
      put(shown.slice(at, found.index));
      at = found.index + found[0].length;
      if (found[1] !== undefined) now = after(found[1], now);
    }
    put(shown.slice(at));
    return now;
  };

  const draw = () => {
    due = false;
    const shown = [...document.querySelectorAll("pre[data-output]")].find((one) => one.dataset.output === step);
    if (!shown || (shown === box && !pending)) return;
    const follows = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 8;
    if (pending.length > MOST) pending = pending.slice(-MOST).replace(/^[^\n]*\n/, "");
    const lines = (open + pending).split("\n");
    pending = "";
    open = lines.pop().slice(-MOST);
    while (lines.length) {
      let piece = parts.at(-1);
      if (!piece || piece.size > PART) parts.push((piece = part()));
      let taken = 0;
      let long = 0;
      while (taken < lines.length && long <= PART) long += lines[taken++].length + 1;
      look = paint(`${lines.splice(0, taken).join("\n")}\n`, piece.node, look);
      piece.size += long;
      size += long;
      if (shown === box && !piece.node.isConnected) last.node.before(piece.node);
    }
    const most = follows ? MOST : 8 * MOST; // what somebody reads is not pulled away
    while (parts.length > 1 && size - parts[0].size > most) {
      const gone = parts.shift();
      size -= gone.size;
      gone.node.remove();
    }
    last.node.replaceChildren();
    paint(open, last.node, look);
    if (shown !== box) {
      shown.replaceChildren(...parts.map((one) => one.node), last.node);
      shown.dataset.followed = ""; // from here on it is ours: what is fetched leaves it alone
      box = shown;
    }
    if (follows) shown.scrollTop = shown.scrollHeight;
  };
  const soon = () => { if (!due) { due = true; setTimeout(() => requestAnimationFrame(draw), 80); } }; // nobody reads faster
  const hear = (line) => {
    if (!line.trim()) return false;
    const said = JSON.parse(line);
    if (said.type === "began") begin("");
    if (said.type === "started") begin(said.step);
    if (said.type === "output" && said.step === step) { pending += said.text; soon(); }
    return said.type === "end";
  };
  async function follow() {
    const name = wanted();
    if (following || !name || !window.TextDecoderStream) return;
    following = true;
    let ended = false;
    try {
      const answer = await fetch(`/api/response/runs/${encodeURIComponent(name)}/live`);
      if (!answer.ok && answer.status < 500) return; // the page itself says why
      const reader = answer.ok && answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      while (reader) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) ended = hear(line) || ended;
      }
    } catch { /* the connection broke: again */ } finally { following = false; }
    if (!ended) setTimeout(follow, 2000);
  }

  /* Of what was written before, the end is what one wants to see. */
  const seen = new WeakSet();
  const toTheEnd = () => {
    for (const one of document.querySelectorAll("pre.output")) {
      if (!seen.has(one)) { seen.add(one); one.scrollTop = one.scrollHeight; }
    }
  };
  document.addEventListener("htmx:afterSwap", () => { toTheEnd(); soon(); follow(); });
  toTheEnd();
  follow();
})();
