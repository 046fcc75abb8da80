// ReDoc reads its colors once, when it starts. docs_theme.js has chosen the theme, and may change it.
const REDOC_DARK = {
  colors: {
    primary: { main: "#52d3b4" },
    success: { main: "#6fcf7c" },
    warning: { main: "#e3b341", contrastText: "#0e1312" },
    error: { main: "#ff9a90" },
    gray: { 50: "#1f2725", 100: "#2b3532" },
    text: { primary: "#e8eeec", secondary: "#9fada8" },
    border: { dark: "#2b3532", light: "#0e1312" },
    responses: {
      success: { backgroundColor: "#15301f" },
      error: { backgroundColor: "#3a1a18" },
      redirect: { backgroundColor: "#33290f" },
      info: { backgroundColor: "#142a35" },
    },
  },
  schema: { linesColor: "#3d7466", nestedBackground: "#161d1b" },
  typography: { code: { color: "#ffb4a8", backgroundColor: "#1f2725" } },
  sidebar: {
    backgroundColor: "#161d1b",
    textColor: "#e8eeec",
    activeTextColor: "#52d3b4",
    groupItems: { activeBackgroundColor: "#1f2725" },
    level1Items: { activeBackgroundColor: "#1f2725" },
  },
  rightPanel: {
    backgroundColor: "#161d1b",
    servers: {
      overlay: { backgroundColor: "#1f2725", textColor: "#e8eeec" },
      url: { backgroundColor: "#0e1312" },
    },
  },
  codeBlock: { backgroundColor: "#0e1312" },
  fab: { backgroundColor: "#1f2725", color: "#52d3b4" },
};

if (document.documentElement.classList.contains("dark-mode")) {
  document.querySelector("redoc").setAttribute("theme", JSON.stringify(REDOC_DARK));
}
new MutationObserver(() => location.reload()).observe(document.documentElement, { attributeFilter: ["class"] });
