// Shows Swagger UI and ReDoc in the theme that is chosen on the pages, or else in the system's.
const systemTheme = matchMedia("(prefers-color-scheme: dark)");

// Swagger UI has a dark theme for this class.
function showTheme() {
  const { classList, dataset } = document.documentElement;
  classList.toggle("dark-mode", dataset.theme ? dataset.theme === "dark" : systemTheme.matches);
}

showTheme();
systemTheme.addEventListener("change", showTheme);
new MutationObserver(showTheme).observe(document.documentElement, { attributeFilter: ["data-theme"] });
