/* The metric browser: narrowed while one types, and put into the expression where one is. */
"use strict";
(() => {
  const find = document.getElementById("find");
  const list = document.getElementById("metrics");
  const count = document.getElementById("metrics-count");
  const expr = document.getElementById("expr");
  if (!find || !list) return;
  const items = [...list.querySelectorAll("[data-metric]")];
  const narrow = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const fits = words.every((word) => item.dataset.metric.toLowerCase().includes(word));
      item.parentElement.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown;
  };
  find.addEventListener("input", narrow);
  find.form.addEventListener("submit", (event) => event.preventDefault());
  expr.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return; // Shift+Enter is a new line
    event.preventDefault();
    expr.form.requestSubmit();
  });
  const fit = () => { expr.style.height = "auto"; expr.style.height = `${Math.min(expr.scrollHeight + 2, 240)}px`; };
  expr.addEventListener("input", fit);
  fit();
})();
