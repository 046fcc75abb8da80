// Improves the pages, which also work without it.

// A message that is shown once is for the next page, and not for what a script fetches.
const FETCHED = { Accept: "text/html", "X-Requested-With": "XMLHttpRequest" };
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

// The theme is the system's until the user chooses another one. It is stored in a cookie, so that
// the server writes it into the page and nothing flashes. Choosing the system's theme resets it.
const button = document.querySelector(".theme");
const menu = document.querySelector(".menu");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
}

function showTheme() {
  button?.setAttribute("aria-pressed", isDark());
}

function switchTheme() {
  const wanted = isDark() ? "light" : "dark";
  const isSystems = (wanted === "dark") === dark.matches;
  if (isSystems) delete root.dataset.theme;
  else root.dataset.theme = wanted;
  const age = isSystems ? 0 : 365 * 24 * 3600;
  document.cookie = `theme=${wanted}; Path=${root.dataset.root}; Max-Age=${age}; SameSite=Lax`;
  showTheme();
}

button?.removeAttribute("hidden");
button?.addEventListener("click", switchTheme);
dark.addEventListener("change", showTheme);
showTheme();

// The menu closes on a click elsewhere, and on Escape.
addEventListener("click", (event) => {
  if (menu && !menu.contains(event.target)) menu.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// A live list: every message of the socket reloads the list.
const list = document.querySelector("[data-live]");
let shown = list?.innerHTML;
let isWaiting = false;
let refreshed = Promise.resolve();
let attempts = 0;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Reload once for many messages, and one reload at a time.
function refresh() {
  if (isWaiting) return;
  isWaiting = true;
  refreshed = refreshed.then(() => pause(300)).then(load).catch(() => {}); // the next reload may succeed
}

async function load() {
  isWaiting = false;
  const response = await fetch(location.href, { headers: FETCHED });
  if (response.redirected) return leave();
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("[data-live]")?.innerHTML;
  if (!response.ok || fresh === undefined || fresh === shown) return;
  shown = fresh;
  const focused = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
  list.innerHTML = fresh;
  showTimes(list);
  if (focused) list.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

// The server redirects to the sign-in and back. A form that is being sent leads elsewhere.
function leave() {
  if (!document.querySelector("form[data-sent]")) location.reload();
}

function connect() {
  const socket = new WebSocket(location.origin.replace("http", "ws") + list.dataset.live);
  socket.addEventListener("open", () => {
    attempts = 0;
    refresh(); // for changes before the socket was open
  });
  socket.addEventListener("message", refresh);
  socket.addEventListener("close", async ({ code }) => {
    if (code === 4401) return leave();
    await pause(Math.min(1000 * 2 ** attempts++, 30_000) * (0.5 + Math.random()));
    refresh(); // a refused handshake gives no reason, but the page does
    connect();
  });
}

if (list) connect();

// Show times in the local time zone; the server writes UTC.
// In the page's language, and in the visitor's variant of it, such as British English.
const variant = navigator.languages.find((tag) => tag.split("-")[0] === root.lang.split("-")[0]);
const format = new Intl.DateTimeFormat(variant ?? root.lang, { dateStyle: "medium", timeStyle: "short" });

export function showTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

showTimes();

// "Back" after signing out: reload a page that the browser has kept in memory.
addEventListener("pageshow", (event) => {
  if (event.persisted && "private" in document.body.dataset) location.reload();
});

// A second click does not submit a form again. A button says so when the answer takes a moment.
let waiting;
addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  if (form.method === "post") waiting = setTimeout(showBusy, 150, event.submitter);
});

function showBusy(pressed) {
  if (!pressed) return;
  pressed.dataset.label = pressed.textContent;
  pressed.textContent = pressed.dataset.busy ?? `${pressed.textContent}…`;
  pressed.disabled = true;
}

addEventListener("pageshow", () => {
  clearTimeout(waiting);
  for (const form of document.forms) delete form.dataset.sent;
  for (const pressed of document.querySelectorAll("button[data-label]")) {
    pressed.textContent = pressed.dataset.label;
    pressed.disabled = false;
    delete pressed.dataset.label;
  }
});

// Leaving a form of the user's own data asks if it was changed, unless it is being sent. What the
// server has refused is not saved either.
function isChanged({ type, value, defaultValue, checked, defaultChecked, options }) {
  if (type === "checkbox") return checked !== defaultChecked;
  if (options) return [...options].some((each) => each.selected !== each.defaultSelected);
  return type !== "password" && type !== "hidden" && value !== defaultValue;
}

addEventListener("beforeunload", (event) => {
  const forms = [...document.forms].filter((form) => form.elements.form_owner);
  if (!forms.length || forms.some((form) => form.dataset.sent)) return;
  const isRefused = "unsaved" in document.querySelector("main").dataset;
  const elements = forms.flatMap((form) => [...form.elements]);
  if (isRefused || elements.some((each) => each.name && isChanged(each))) event.preventDefault();
});
