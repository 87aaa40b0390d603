"use strict";
// What the pages do beyond forms and links. The service renders everything: a page that is watched is fetched again when
// something has happened, and those parts of it that differ are replaced. So nothing is shown twice or left behind,
// whatever was missed while the connection was lost or the page was in the background.

const main = document.getElementById("main");
const notice = document.querySelector("[data-notice]");
const LARGEST = 1000000;
const LEAST = 1000; // milliseconds between two looks
const EVENTS = ["started", "warned", "proposed", "ended", "repeated", "paused", "resumed", "finished", "state"];
let source = null, place = main.dataset.after, looked = 0, planned = null, looking = false;

// Forms.

for (const input of document.querySelectorAll("[data-fills]")) {
  const says = document.getElementById("file-says");
  input.removeAttribute("name"); // the text that it fills in is sent, as it was edited
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file) return;
    if (file.size > LARGEST) {
      says.textContent = `${file.name} is too large: a study has at most 1 MB.`;
      return;
    }
    document.getElementById(input.dataset.fills).value = await file.text();
    says.textContent = `The text below is that of ${file.name}. Look it over, and submit it.`;
  });
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const dialog = document.getElementById(form.dataset.asks);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  } else if (form.dataset.once !== undefined) {
    event.submitter.disabled = true; // a second click would submit it again
  }
});
for (const button of document.querySelectorAll("[data-closes]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});

// Watching.

if (main.dataset.page) {
  setInterval(() => { if (Date.now() - looked >= 1000 * main.dataset.every) look(); }, LEAST);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hush();
    else look();
  });
  listen();
}

// A browser holds few connections to one address: only the page that is seen has one.
function listen() {
  if (source || document.hidden || !main.dataset.events) return;
  source = new EventSource(`${main.dataset.events}?after=${place}`);
  for (const name of EVENTS) {
    source.addEventListener(name, (message) => {
      place = message.lastEventId;
      soon();
    });
  }
  source.addEventListener("error", () => {
    if (source && source.readyState === EventSource.CLOSED) source = null; // refused, or the study has ended
    soon();
  });
}

function hush() {
  if (source) source.close();
  source = null;
}

function soon() {
  planned ??= setTimeout(look, Math.max(0, looked + LEAST - Date.now()));
}

async function look() {
  clearTimeout(planned);
  planned = null;
  if (document.hidden) return;
  if (looking) return soon();
  looking = true;
  looked = Date.now();
  try {
    await show(await fetch(main.dataset.page, { headers: { Accept: "text/html" }, redirect: "manual" }));
  } catch {
    say("The service does not answer; what is shown may be old. It is asked again.");
  } finally {
    looking = false;
  }
}

async function show(answer) {
  if (answer.type === "opaqueredirect" || answer.status === 401) {
    hush();
    return say("You are logged out: your token has expired or was revoked. What is shown is old.", "/login", "Log in");
  }
  if (answer.status === 404) {
    hush();
    return say("This study was removed from the queue. What is shown is old.", "/", "All studies");
  }
  if (!answer.ok) return say("The service cannot answer now; what is shown may be old. It is asked again.");
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!fresh.querySelector("[data-part]")) throw new Error("not such a page");
  for (const part of document.querySelectorAll("[data-part]")) replace(part, fresh.getElementById(part.id));
  document.title = fresh.title;
  const { every, events, after } = fresh.getElementById("main").dataset;
  main.dataset.every = every;
  if (events) main.dataset.events = events;
  else delete main.dataset.events;
  if (!source) place = after;
  if (!events) hush();
  say("");
  listen();
}

function replace(part, fresh) {
  if (!fresh || fresh.innerHTML === part.innerHTML) return;
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  part.replaceChildren(...document.importNode(fresh, true).childNodes);
  if (!focused) return;
  const again = focused.href ? part.querySelector(`a[href="${CSS.escape(focused.getAttribute("href"))}"]`) : part.querySelector("button");
  (again || main).focus();
}

function say(text, href, link) {
  if (notice.dataset.text === text) return; // said again, a screen reader would read it again
  notice.dataset.text = text;
  notice.replaceChildren(text);
  if (!href) return;
  const anchor = document.createElement("a");
  anchor.href = href;
  anchor.textContent = link;
  notice.append(" ", anchor, ".");
}
