// Improves a list, which also works without it: it searches while the user types, and follows
// changes made elsewhere. The server renders the whole page, of which the list is replaced.

// A message that is shown once is for the next page, and not for what a script fetches.
const FETCHED = { Accept: "text/html", "X-Requested-With": "XMLHttpRequest" };
const TYPING = 300; // milliseconds without a key, after which the search starts
const list = document.querySelector("[data-list]");
const form = document.querySelector("form[data-search]");
const status = document.querySelector("[data-announce]");
let shown = list.innerHTML; // as the server sent it: this runs before script.js
let shownUrl = location.href;
let current = new AbortController(); // of the request whose answer may be shown

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// An older answer never replaces a newer one: its request is aborted.
async function load(announcement) {
  current.abort();
  const { signal } = (current = new AbortController());
  const url = location.href;
  const response = await fetch(url, { headers: FETCHED, signal });
  if (response.redirected) return leave();
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("[data-list]")?.innerHTML;
  // A click or a key that is pressed on the list ends on what it began on.
  while (list.querySelector(":active") && !signal.aborted) await pause(50);
  if (signal.aborted || fresh === undefined) return;
  // The results of a search that this request has overtaken are no change from elsewhere.
  if (url !== shownUrl) announcement = undefined;
  shownUrl = url;
  if (fresh !== shown) {
    const before = versions();
    shown = fresh;
    replace(fresh);
    announce(announcement);
    if (announcement) lightUp(boxes().filter((box) => box.value !== before[box.name]));
  } else if (!announcement) announce();
}

// The focus and the selected records stay.
function replace(fresh) {
  const focused = list.contains(document.activeElement) && keyOf(document.activeElement);
  const selected = boxes().filter((box) => box.checked).map((box) => box.name);
  list.innerHTML = fresh;
  for (const box of boxes()) box.checked = selected.includes(box.name);
  if (focused) list.querySelector(focused)?.focus({ preventScroll: true });
  showSelectAll();
  list.dispatchEvent(new Event("list", { bubbles: true }));
}

// What has changed lights up for a moment. The value of a box is the version of its record.
const versions = () => Object.fromEntries(boxes().map((box) => [box.name, box.value]));

function lightUp(found) {
  for (const box of found) box.closest("tr").classList.add("lit");
}

function keyOf(element) {
  const name = ["name", "href"].find((each) => element.hasAttribute(each));
  return name && `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
}

// Without a text, the number of results is announced.
function announce(text) {
  const total = list.querySelector("[data-total], .none, [role=alert]");
  status.textContent = text ?? total?.textContent.trim() ?? "";
}

// The server redirects to the sign-in and back. A form that is being sent leads elsewhere.
function leave() {
  if (!document.querySelector("form[data-sent]")) location.reload();
}

// Search while typing.
let typed;

function search() {
  const fields = [...new FormData(form)].filter(([, value]) => value.trim());
  const url = new URL(form.getAttribute("action"), location.href); // a field can be named "action"
  url.search = new URLSearchParams(fields);
  if (url.href === location.href) return;
  history.replaceState(null, "", url);
  load().catch(() => {}); // Aborted, or offline: the next search may succeed.
}

form?.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(search, TYPING);
});
form?.addEventListener("submit", () => clearTimeout(typed));

// Select all records of the page.
const boxes = () => [...list.querySelectorAll("[form=selection]")];

function showSelectAll() {
  const all = list.querySelector("[data-select-all]");
  if (!all) return;
  const found = boxes();
  all.hidden = !found.length;
  all.checked = found.length > 0 && found.every((box) => box.checked);
  all.indeterminate = !all.checked && found.some((box) => box.checked);
}

list.addEventListener("change", ({ target }) => {
  if ("selectAll" in target.dataset) for (const box of boxes()) box.checked = target.checked;
  showSelectAll();
});
addEventListener("pageshow", showSelectAll);
showSelectAll();

const saved = document.querySelector("[data-record]")?.dataset.record;
lightUp(boxes().filter((box) => box.name === `select-${saved}`));

// A live list: every message of the socket reloads it.
let isWaiting = false;
let refreshed = Promise.resolve();
let attempts = 0;

// Reload once for many messages, and one reload at a time.
function refresh() {
  if (isWaiting) return;
  isWaiting = true;
  const reload = () => {
    isWaiting = false;
    return load(status.dataset.announce);
  };
  refreshed = refreshed.then(() => pause(300)).then(reload).catch(() => {}); // The next may succeed.
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

if (list.dataset.live) connect();
