// Shows the events of the server. The page also works without it.

for (const live of document.querySelectorAll("[data-news]")) {
  const news = new EventSource(live.dataset.news);
  for (const part of live.querySelectorAll("[data-part]")) {
    news.addEventListener(part.dataset.part, ({ data }) => {
      part.innerHTML = data;
    });
  }
  news.addEventListener("end", () => {
    news.close();
    for (const button of live.querySelectorAll("button")) button.disabled = false;
  });
}

// Submit these forms without leaving the page, which shows their effect.
for (const form of document.querySelectorAll("form[data-stay]")) {
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    await fetch(form.action, { method: "POST", redirect: "manual" }).catch(() => {});
    button.disabled = false;
  });
}
