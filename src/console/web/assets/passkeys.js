// Passkeys: making one, and signing an approval with one. The gateway says what is to be signed and checks what was; this carries it
// between a form and the browser's authenticator, and decides nothing.
"use strict";

{
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  async function asked(address, options) {
    const answer = await fetch(address, { ...options, headers: { accept: "application/json" }, redirect: "error" });
    if (answer.status === 401) throw new Error("Your session is over: load this page again.");
    const told = await answer.json();
    if (!answer.ok) throw new Error(`${told.detail} ${told.hint}`);
    return told.publicKey;
  }

  async function make(form) {
    const body = new URLSearchParams({ csrf: form.elements.csrf.value });
    const key = await asked(form.dataset.begin, { method: "POST", body });
    key.challenge = bytes(key.challenge);
    key.user.id = bytes(key.user.id);
    for (const known of key.excludeCredentials) known.id = bytes(known.id);
    const { response } = await navigator.credentials.create({ publicKey: key });
    return { client_data: response.clientDataJSON, attestation: response.attestationObject };
  }

  async function sign(form) {
    // Exactly the limits that the form holds: they are part of what is signed.
    const fields = new FormData(form);
    const limits = new URLSearchParams({ minutes: fields.get("minutes"), conditions: fields.getAll("condition").join(","), once: fields.has("once") });
    const key = await asked(`${form.dataset.begin}?${limits}`, {});
    key.challenge = bytes(key.challenge);
    for (const own of key.allowCredentials) own.id = bytes(own.id);
    const { rawId, response } = await navigator.credentials.get({ publicKey: key });
    return {
      credential: rawId,
      client_data: response.clientDataJSON,
      authenticator_data: response.authenticatorData,
      signature: response.signature,
    };
  }

  const troubles = {
    NotAllowedError: "The passkey gave no answer: it was cancelled, or took too long. Try again.",
    InvalidStateError: "This authenticator holds a passkey of yours already.",
    SecurityError: "The browser lets this page use no passkeys: its address isn't the gateway's own, or its certificate isn't trusted.",
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-passkey]");
    if (!form) return;
    event.preventDefault();
    const trouble = form.querySelector("[data-trouble]");
    trouble.hidden = true;
    // Stays as it is while the authenticator is asked.
    form.setAttribute("data-touched", "");
    form.inert = true;
    try {
      if (!navigator.credentials) throw new Error("This browser knows no passkeys.");
      const answer = await (form.dataset.passkey === "make" ? make(form) : sign(form));
      for (const [name, value] of Object.entries(answer)) {
        const field = Object.assign(document.createElement("input"), { type: "hidden", name, value: text(value) });
        form.append(field);
      }
      form.submit();
    } catch (error) {
      form.inert = false;
      trouble.textContent = troubles[error.name] ?? error.message;
      trouble.hidden = false;
    }
  });
}
