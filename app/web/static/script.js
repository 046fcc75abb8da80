// Improves the pages, which also work without it.

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

// The server writes times in the time zone of this cookie, and in UTC without it.
document.cookie = `time_zone=${Intl.DateTimeFormat().resolvedOptions().timeZone}; Path=${root.dataset.root}; Max-Age=${365 * 24 * 3600}; SameSite=Lax`;

// Show times in the local time zone.
// In the page's language, and in the visitor's variant of it, such as British English.
const variant = navigator.languages.find((tag) => tag.split("-")[0] === root.lang.split("-")[0]);
const format = new Intl.DateTimeFormat(variant ?? root.lang, { dateStyle: "medium", timeStyle: "short" });
const dateFormat = new Intl.DateTimeFormat(variant ?? root.lang, { dateStyle: "medium", timeZone: "UTC" });

function showTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    time.title = time.textContent;
    const isDate = !time.dateTime.includes("T"); // which is midnight in UTC for `Date`
    time.textContent = (isDate ? dateFormat : format).format(new Date(time.dateTime));
  }
}

showTimes();
addEventListener("list", (event) => showTimes(event.target)); // list.js has replaced a list

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
  if (form.getAttribute("method") === "post") waiting = setTimeout(showBusy, 150, event.submitter);
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

// A password can be shown while it is typed. It is sent as a password, since browsers keep what is
// typed as text.
function toggle(button) {
  const [input, words] = [button.previousElementSibling, button.firstElementChild];
  input.type = input.type === "password" ? "text" : "password";
  [words.textContent, button.dataset.other] = [button.dataset.other, words.textContent];
}

function hidePasswords() {
  for (const button of document.querySelectorAll(".password > [type=text] + button")) toggle(button);
}

for (const button of document.querySelectorAll(".password > button")) {
  button.hidden = false;
  button.addEventListener("click", () => toggle(button));
}
addEventListener("submit", hidePasswords);
addEventListener("pagehide", hidePasswords);

// A field is checked when it is left, with the messages of the server, and its error goes as soon as
// the value is right. A value that only the server knows to be wrong is right when it is changed.
const FIELD = "form[method=post][novalidate] :is(.field, .check, .wrong)"; // an input with its message
const inputOf = (field) => field.querySelector("input, select, textarea");
const typed = new WeakSet();
const refused = new Map(); // inputs with the messages of the server
for (const error of document.querySelectorAll(`${FIELD} > .error`)) {
  refused.set(inputOf(error.parentElement), error.textContent);
}

function isDefault({ type, value, defaultValue, checked, defaultChecked, options }) {
  if (type === "checkbox") return checked === defaultChecked;
  if (options) return [...options].every((each) => each.selected === each.defaultSelected);
  return value === defaultValue;
}

function messageFor(input) {
  const { validity, value, dataset } = input;
  if (refused.has(input) && isDefault(input)) return refused.get(input);
  // The server also takes addresses beyond ASCII, which browsers refuse.
  if (validity.valid || (validity.typeMismatch && /[^ -~]/.test(value))) return "";
  for (const rule in validity) if (validity[rule] && dataset[rule]) return dataset[rule];
  return input.validationMessage;
}

// As the macros `attributes` and `field_message` of forms.html do.
function check(field) {
  const input = inputOf(field);
  const text = messageFor(input);
  const hint = field.querySelector(".hint");
  const error = field.querySelector(".error") ?? document.createElement("p");
  Object.assign(error, { className: "error", id: `${input.id}-error`, textContent: text });
  if (text) field.append(error);
  else error.remove();
  if (hint) hint.hidden = text !== "";
  field.classList.toggle("wrong", text !== "");
  input.ariaInvalid = text ? "true" : null;
  input.removeAttribute("aria-describedby");
  if (text || hint) input.setAttribute("aria-describedby", text ? error.id : hint.id);
}

addEventListener("input", ({ target }) => {
  typed.add(target);
  const field = target.closest(FIELD);
  if (field?.matches(".wrong")) check(field);
});

addEventListener("focusout", async ({ target }) => {
  const field = target.closest(FIELD);
  if (!field) return;
  // An error would move the button that is pressed. A link that is pressed leaves the page.
  do {
    await new Promise(requestAnimationFrame);
    if (document.querySelector("a:is(:active, :focus:not(:focus-visible))")) return;
  } while (document.querySelector(":active"));
  const input = inputOf(field);
  const isTyped = input.value || input.validity.badInput || typed.has(input);
  const isLeft = !field.contains(document.activeElement) && !document.querySelector("form[data-sent]");
  if (isTyped && isLeft) check(field);
});

// Leaving a form of the user's own data asks if it was changed, unless it is being sent. What the
// server has refused is not saved either.
function isChanged(each) {
  return !each.matches("[type=hidden], [type=password], .password > input") && !isDefault(each);
}

addEventListener("beforeunload", (event) => {
  const forms = [...document.forms].filter((form) => form.elements.form_owner);
  if (!forms.length || forms.some((form) => form.dataset.sent)) return;
  const isRefused = "unsaved" in document.querySelector("main").dataset;
  const elements = forms.flatMap((form) => [...form.elements]);
  if (isRefused || elements.some((each) => each.name && isChanged(each))) event.preventDefault();
});
