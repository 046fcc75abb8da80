// Sends the query of the form, and shows the result.

const form = document.querySelector(".graphql");
const { token, query, variables, example } = form.elements;
const [status, result] = document.querySelectorAll(".graphql ~ section :is([role=status], pre)");

function show(message, text = "") {
  status.textContent = message;
  result.textContent = text;
}

function parse(text) {
  const value = JSON.parse(text || "{}");
  if (typeof value !== "object" || Array.isArray(value)) throw new SyntaxError();
  return value;
}

async function send(values) {
  const response = await fetch(form.dataset.endpoint, {
    method: "POST",
    credentials: "omit", // The token alone says who asks.
    headers: { Authorization: `Bearer ${token.value.trim()}`, "Content-Type": "application/json" },
    body: JSON.stringify({ query: query.value, variables: values }),
  });
  show(`${response.status} ${response.statusText}`, JSON.stringify(await response.json(), null, 2));
}

async function run() {
  const [button] = form.querySelectorAll("button");
  let values;
  try {
    values = parse(variables.value);
  } catch {
    return show(form.dataset.invalidVariables);
  }
  button.disabled = true;
  try {
    await send(values);
  } catch {
    show(form.dataset.failed);
  } finally {
    button.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
example.addEventListener("change", () => {
  query.value = example.value;
});
