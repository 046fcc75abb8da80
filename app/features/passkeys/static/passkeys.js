// Asks the browser for a passkey, and sends the form with it. The buttons stay hidden without it.

function bytes(text) {
  const padded = text.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(padded), (character) => character.charCodeAt(0));
}

function base64url(buffer) {
  const text = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function withBytes(credentials) {
  return (credentials ?? []).map((credential) => ({ ...credential, id: bytes(credential.id) }));
}

// Older browsers have no functions that read and write JSON.
function parse(options, isNew) {
  const name = isNew ? "parseCreationOptionsFromJSON" : "parseRequestOptionsFromJSON";
  if (PublicKeyCredential[name]) return PublicKeyCredential[name](options);
  const parsed = { ...options, challenge: bytes(options.challenge) };
  if (!isNew) return { ...parsed, allowCredentials: withBytes(options.allowCredentials) };
  const user = { ...options.user, id: bytes(options.user.id) };
  return { ...parsed, user, excludeCredentials: withBytes(options.excludeCredentials) };
}

function toJson(credential) {
  const { id, type, rawId, response } = credential;
  const written = { clientDataJSON: base64url(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) written[name] = base64url(response[name]);
  }
  if (response.getTransports) written.transports = response.getTransports();
  return { id, type, rawId: base64url(rawId), response: written };
}

// The browser offers passkeys in the field of the address, until a button asks for one.
let autofill = new AbortController();
const RENEW_AFTER_MILLISECONDS = 4 * 60 * 1000; // before the challenge expires

async function ask(button, asked = {}) {
  const answer = await fetch(button.dataset.options, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { token, options } = await answer.json();
  const isNew = button.dataset.passkey === "create";
  const publicKey = parse(options, isNew);
  const credential = await navigator.credentials[isNew ? "create" : "get"]({ publicKey, ...asked });
  return { token, credential: credential.toJSON?.() ?? toJson(credential) };
}

function send(form, { token, credential }) {
  form.querySelector("[data-passkey-token]").value = token;
  form.querySelector("[data-passkey-credential]").value = JSON.stringify(credential);
  form.dataset.sent = "yes"; // as `script.js` notes what is sent
  form.submit();
}

async function offer(button) {
  if (location.origin !== button.dataset.origin) return;
  if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
  autofill = new AbortController();
  const { signal } = autofill;
  const renewal = setTimeout(() => {
    autofill.abort();
    offer(button);
  }, RENEW_AFTER_MILLISECONDS);
  try {
    send(button.form, await ask(button, { mediation: "conditional", signal }));
  } catch {
    // The button is there, and says what is wrong.
  }
  clearTimeout(renewal);
}

async function use(button) {
  const form = button.form;
  // Before the passkey is made: one that the server refuses would stay on the device.
  if (!form.reportValidity()) return;
  const alert = form.querySelector("[data-passkey-alert]");
  alert.hidden = true;
  button.disabled = true;
  try {
    if (location.origin !== button.dataset.origin) throw new DOMException("", "SecurityError");
    autofill.abort(); // A browser asks for one passkey at a time.
    send(form, await ask(button));
  } catch (error) {
    const { elsewhere, known, failed } = button.dataset;
    const texts = { SecurityError: elsewhere, InvalidStateError: known };
    alert.textContent = texts[error.name] ?? failed;
    alert.hidden = false;
    button.disabled = false;
    if ("autofill" in button.dataset) offer(button);
  }
}

if (window.PublicKeyCredential) {
  for (const button of document.querySelectorAll("[data-passkey]")) {
    button.hidden = button.form.hidden = false;
    if ("autofill" in button.dataset) offer(button);
  }
  document.addEventListener("submit", (event) => {
    const button = event.target.querySelector("[data-passkey]");
    if (!button) return;
    event.preventDefault();
    use(button);
  });
}
