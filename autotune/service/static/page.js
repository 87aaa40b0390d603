"use strict";
// What the pages do beyond forms and links: a file fills the form, a dialog asks, and a study is followed as it goes.

for (const input of document.querySelectorAll("[data-fills]")) {
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (file && file.size < 1000000) document.getElementById(input.dataset.fills).value = await file.text();
  });
}

for (const button of document.querySelectorAll("[data-asks]")) {
  const dialog = document.querySelector(`[data-dialog="${button.dataset.asks}"]`);
  button.addEventListener("click", () => dialog.showModal());
  dialog.querySelector("[data-closes]").addEventListener("click", () => dialog.close());
}

const followed = document.querySelector("[data-study]");
if (followed) follow(followed);

function follow(root) {
  const say = (name, text) => { root.querySelector(`[data-${name}]`).textContent = text; };
  const number = (value) => (value === null || value === undefined ? "-" : Number(value).toPrecision(6));
  const points = [];
  let goal = "maximize", ceiling = null, budget = null, ended = 0, began = null;
  const source = new EventSource(`/api/v1/studies/${root.dataset.study}/events`);

  source.addEventListener("started", (message) => {
    const event = JSON.parse(message.data);
    [goal, ceiling, budget, ended, began] =
      [event.metric.goal, event.metric.noise_ceiling, event.budget, event.ended, Date.parse(event.time)];
    say("metric", event.metric.name);
    say("budget", budget);
    say("trials", ended);
    say("ceiling-text", ceiling === null ? "not known" : number(ceiling));
    say("doing", "searches");
    root.querySelector("[data-bar]").max = budget;
    root.dataset.before = ended;
  });
  source.addEventListener("ended", (message) => {
    const event = JSON.parse(message.data);
    ended += 1;
    say("trials", ended);
    root.querySelector("[data-bar]").value = ended;
    if (event.best) {
      say("best", number(event.best.value));
      points.push(event.best.value);
      draw(root.querySelector("[data-chart]"), points, ceiling, budget, goal);
    }
    const done = ended - Number(root.dataset.before || 0);
    if (began && budget) {
      const left = Math.max(0, (budget - ended) * (Date.parse(event.time) - began) / 1000 / done);
      say("left", left < 90 ? `about ${Math.round(left)} s` : `about ${Math.round(left / 60)} min`);
    }
  });
  source.addEventListener("repeated", (message) => {
    const event = JSON.parse(message.data);
    say("doing", `computes intervals: ${event.done} of ${event.count} repeated measurements`);
    say("left", "-");
  });
  source.addEventListener("paused", (message) => say("doing", `waits: ${JSON.parse(message.data).reason}`));
  source.addEventListener("resumed", () => say("doing", "searches"));
  source.addEventListener("state", (message) => {
    const event = JSON.parse(message.data);
    const state = root.querySelector("[data-state]");
    state.textContent = event.state;
    state.className = `state ${event.state}`;
    say("reason", event.reason);
    const over = ["finished", "failed", "rejected", "cancelled", "interrupted"].includes(event.state);
    // An older end may be followed by a second run of a study that was resumed: only the last one shows the answer.
    if (over && root.dataset.live === "yes") setTimeout(() => reloadOnceEnded(root.dataset.study), 300);
  });
}

async function reloadOnceEnded(study) {
  const answer = await fetch(`/api/v1/studies/${study}`);
  if (answer.ok && (await answer.json()).ended !== null) location.reload();
}

// The best value by trial, with the noise ceiling as a dashed line.
function draw(chart, points, ceiling, budget, goal) {
  const known = points.concat(ceiling === null ? [] : [ceiling]);
  const sorted = known.slice().sort((a, b) => a - b);
  const low = goal === "maximize" ? sorted[Math.floor(points.length / 10)] : sorted[0];
  const high = goal === "maximize" ? sorted[sorted.length - 1] : sorted[Math.ceil(known.length * 0.9) - 1];
  const x = (i) => 10 + 580 * (i + 0.5) / Math.max(budget || 1, points.length);
  const y = (v) => 150 - 140 * (Math.min(Math.max(v, low), high) - low) / ((high - low) || 1);
  const line = (name, attributes) => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    return part;
  };
  const parts = [line("polyline", { points: points.map((v, i) => `${x(i)},${y(v)}`).join(" "), fill: "none",
    stroke: "currentColor", "stroke-width": 2 })];
  if (ceiling !== null) {
    parts.push(line("line", { x1: 10, x2: 590, y1: y(ceiling), y2: y(ceiling), stroke: "currentColor",
      "stroke-dasharray": "6 4" }));
  }
  chart.replaceChildren(...parts);
}
