// Light or dark: as the system says, until the button says otherwise.
const THEME = "bench-theme";

function startTheme(changed) {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const button = document.getElementById("theme");
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
    changed();
  };
  try {
    const kept = localStorage.getItem(THEME);
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch {
    // A page from a file may have no storage: the choice then lasts as long as the page.
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(THEME, root.dataset.theme);
    } catch {
      // As above.
    }
    show();
  });
  dark.addEventListener("change", show);
  show();
}
