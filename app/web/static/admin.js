// The admin uses the theme of the system, unless the server has written the chosen theme.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

if (!root.dataset.bsTheme) {
  const follow = () => { root.dataset.bsTheme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", follow);
  follow();
}

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("search-reset")?.setAttribute("aria-label", "Clear the search");
});
