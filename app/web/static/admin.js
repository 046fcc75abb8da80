// The admin uses the theme of the system, unless the server has written the chosen theme.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

if (!root.dataset.bsTheme) {
  const follow = () => { root.dataset.bsTheme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", follow);
  follow();
}

// Buttons without a text, or with an English one.
const texts = document.currentScript.dataset;
document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("search-reset")?.setAttribute("aria-label", texts.clearSearch);
  document.querySelector(".navbar-toggler")?.setAttribute("aria-label", texts.menu);
});

// The dialog that confirms a deletion names the records.
document.addEventListener("shown.bs.modal", ({ target, relatedTarget }) => {
  const question = target.querySelector("[data-question]");
  if (!question) return;
  const button = relatedTarget ?? document.getElementById("action-delete");
  const { name, pk } = $(button).data();
  question.textContent = question.dataset.question.replace("{}", () => `${name} ${[pk].flat().join(", ")}`);
});
