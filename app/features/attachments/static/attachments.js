// Shows how much of a file has been sent. The form also works without it.

function show(form, message) {
  form.querySelector(".alert")?.remove();
  form.insertAdjacentHTML("afterbegin", '<p class="alert" role="alert"></p>');
  form.querySelector(".alert").textContent = message;
}

function send(form) {
  const [button, progress] = [form.querySelector("button"), form.querySelector("progress")];
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    progress.value = loaded / total;
  });
  request.addEventListener("loadend", () => {
    if (request.status === 200) return location.assign(request.responseURL); // It was redirected.
    button.disabled = false;
    progress.hidden = true;
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    show(form, page.querySelector("main .alert, main p")?.textContent || form.dataset.failed);
  });
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "text/html");
  request.setRequestHeader("X-Requested-With", "XMLHttpRequest"); // The message is for the next page.
  request.send(new FormData(form));
  button.disabled = true;
  progress.hidden = false;
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.upload) return;
  event.preventDefault();
  const isTooLarge = form.elements.file.files[0]?.size > Number(form.dataset.upload);
  if (isTooLarge) show(form, form.dataset.tooLarge);
  else send(form);
});
