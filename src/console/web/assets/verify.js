// Checks a record's proof in this browser, by the auditor's own verifier built for WebAssembly (audit/wasm). Nothing is asked of the
// gateway but the proof itself. A page cannot prove its own honesty: who doubts it saves the proof and asks `auditctl`.
"use strict";
const place = document.getElementById("check");
const key = document.getElementById("key");
const proof = document.getElementById("proof-text");
const verdict = document.getElementById("verdict");
const verifier = WebAssembly.instantiateStreaming(fetch(place.dataset.verifier), {}).then(({ instance }) => instance.exports);

const kept = localStorage.getItem("ledger-key");
if (kept) key.value = kept;
key.addEventListener("change", () => localStorage.setItem("ledger-key", key.value.trim()));

/** What the verifier says. Bytes go in and come out one by one: it shares no memory. */
function ask({ clear, put_key, put_proof, check, verdict: told }) {
  clear();
  const bytes = new TextEncoder();
  for (const byte of bytes.encode(key.value)) put_key(byte);
  for (const byte of bytes.encode(proof.value)) put_proof(byte);
  check();
  const text = [];
  for (let at = 0, byte; (byte = told(at)) >= 0; at++) text.push(byte);
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text)));
}

function tell(good, text) {
  verdict.className = `verdict ${good ? "good" : "bad"}`;
  verdict.textContent = text;
}

async function check() {
  try {
    const said = ask(await verifier);
    if (!said.good) tell(false, `Broken: ${said.why}.`);
    else if (said.seq !== Number(place.dataset.seq)) tell(false, `Good, but of another record: number ${said.seq}.`);
    else tell(true, `Good: record ${said.seq} stands in ${said.origin}, under a signed head over ${said.size} records with the root ${said.root}.`);
  } catch (error) {
    tell(false, `The verifier could not run here: ${error.message}`);
  }
}

async function begin() {
  const answer = await fetch(place.dataset.proof);
  if (!answer.ok) {
    tell(false, `There is no proof to check: ${(await answer.json()).detail}`);
    return;
  }
  proof.value = await answer.text();
  await check();
}

document.getElementById("check-again").addEventListener("click", check);
begin();
