// Makes the pages pleasant; each works without it.

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

// The theme: the system's, until the reader picks another. A cookie keeps it, so that the server
// writes it into the page and nothing flashes. Who picks what the system has follows that again.
const button = document.querySelector(".theme");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
}

function showTheme() {
  button.setAttribute("aria-pressed", isDark());
}

function switchTheme() {
  const wanted = isDark() ? "light" : "dark";
  const isSystems = (wanted === "dark") === dark.matches;
  if (isSystems) delete root.dataset.theme;
  else root.dataset.theme = wanted;
  const age = isSystems ? 0 : 365 * 24 * 3600;
  document.cookie = `theme=${wanted}; Path=/; Max-Age=${age}; SameSite=Lax`;
  showTheme();
}

button.hidden = false;
button.addEventListener("click", switchTheme);
dark.addEventListener("change", showTheme);
showTheme();

// Times in the reader's zone; the server writes UTC.
const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function showTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

showTimes();

// "Back" after a sign-out: what a browser has kept in memory is asked for anew.
addEventListener("pageshow", (event) => {
  if (event.persisted && "private" in document.body.dataset) location.reload();
});

// A second press sends nothing twice.
addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
