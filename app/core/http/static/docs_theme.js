// Shows Swagger UI and ReDoc in the theme of the pages: that of the cookie, or else the system's.
const systemTheme = matchMedia("(prefers-color-scheme: dark)");
const chosenTheme = document.cookie.match(/(?:^|; )theme=(light|dark)(?:;|$)/)?.[1];

// Swagger UI has a dark theme for this class.
function showTheme() {
  const isDark = chosenTheme ? chosenTheme === "dark" : systemTheme.matches;
  document.documentElement.classList.toggle("dark-mode", isDark);
}

showTheme();
systemTheme.addEventListener("change", showTheme);
