/* Follows what a run writes: lines travel as they come, everything else is fetched as on every page. */
"use strict";
(() => {
  const name = document.getElementById("steps")?.dataset.liveRun;
  if (!name || !window.TextDecoderStream) return;
  const MOST = 64 * 1024; // characters that are shown while it runs; all that is kept is a link away
  let step = "";
  let text = "";
  let ended = false;
  let due = false;

  const draw = () => {
    due = false;
    const shown = [...document.querySelectorAll("pre[data-output]")].find((one) => one.dataset.output === step);
    if (!shown || shown.textContent === text) return;
    const follows = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 8;
    shown.textContent = text;
    if (follows) shown.scrollTop = shown.scrollHeight;
  };
  const soon = () => { if (!due) { due = true; requestAnimationFrame(draw); } };
  const hear = (line) => {
    if (!line.trim()) return;
    const said = JSON.parse(line);
    if (said.type === "began") { step = ""; text = ""; }
    if (said.type === "started") { step = said.step; text = ""; }
    if (said.type === "output" && said.step === step) text = (text + said.text).slice(-MOST);
    if (said.type === "end") ended = true;
    soon();
  };
  async function follow() {
    try {
      const answer = await fetch(`/api/response/runs/${encodeURIComponent(name)}/live`);
      if (!answer.ok) return; // the page itself says why
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        lines.forEach(hear);
      }
    } catch { /* the connection broke: again */ }
    if (!ended) setTimeout(follow, 2000);
  }
  document.addEventListener("htmx:afterSwap", soon);
  follow();
})();
