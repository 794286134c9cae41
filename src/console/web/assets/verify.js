// Checks a record's proof in this browser, by the auditor's own verifier built for WebAssembly (audit/wasm), and holds what the page says
// against the record that was proved. Nothing is asked of the gateway but the proof itself. A page cannot prove its own honesty: who doubts
// it saves the proof and asks `auditctl`.
"use strict";
const place = document.getElementById("check");
const key = document.getElementById("key");
const proof = document.getElementById("proof-text");
const verdict = document.getElementById("verdict");
const bytes = document.getElementById("record-bytes");
/** The details of a record that its page explains: those of EXPLAINING in ledger.rs. */
const DETAILS = ["decision", "rules", "conditions", "workflows", "code", "why", "needs_approval", "shares", "claimed_roles", "severity"];
const verifier = WebAssembly.instantiateStreaming(fetch(place.dataset.verifier), {}).then(({ instance }) => instance.exports);
// Told where it is asked for.
verifier.catch(() => {});

const named = key.value;
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

/** RFC 8785, which takes texts and numbers from this very language: so these are the bytes that were hashed. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}

/** Its leaf hash (RFC 6962): SHA-256 over a zero byte and the record. */
async function leaf(record) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`\0${canonical(record)}`));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A value as the page writes it; nothing for what it leaves out. */
function written(value) {
  if (Array.isArray(value)) return value.length ? value.map((one) => (typeof one === "string" ? one : canonical(one))).join("\n") : undefined;
  if (value === undefined || typeof value === "string") return value;
  return canonical(value);
}

/** What the page may say of a record, by the names under which it says it. */
async function facts(record) {
  const { kind, result, time, action = "", object, prev, session, correlation, grant, policy, details = {} } = record;
  const told = { seq: String(record.seq), kind, result, time: time.slice(0, 19).replace("T", " "), prev, leaf: await leaf(record), session, correlation, grant, policy };
  told.what = object === undefined ? undefined : `${action} ${object}`;
  for (const name of DETAILS) told[`details.${name}`] = written(details[name]);
  return told;
}

/** Where the page says something else than the record does: names, none if it says the same. */
async function differences(record) {
  const told = await facts(record);
  const shown = [...document.querySelectorAll("[data-proved]")];
  const differs = (name) => {
    const places = shown.filter((one) => one.dataset.proved === name);
    return told[name] === undefined ? places.length > 0 : places.length !== 1 || places[0].textContent !== told[name].replace(/\r\n?/g, "\n");
  };
  const names = new Set([...Object.keys(told), ...shown.map((one) => one.dataset.proved)]);
  const found = [...names].filter(differs);
  if (!same(bytes.dataset.said, record)) found.push("bytes");
  return found;
}

function same(said, record) {
  try {
    return canonical(JSON.parse(said)) === canonical(record);
  } catch {
    return false;
  }
}

function tell(good, text) {
  verdict.className = `verdict ${good ? "good" : "bad"}`;
  verdict.textContent = text;
}

async function judge() {
  const said = ask(await verifier);
  const other = kept && key.value.trim() === kept && kept !== named ? " The key is the one that this browser has kept, and the gateway names another: if the ledger's key was replaced, take the new one from whom you trust." : "";
  if (!said.good) return tell(false, `Broken: ${said.why}.${other}`);
  if (said.seq !== Number(place.dataset.seq)) return tell(false, `Good, but of another record: number ${said.seq}.`);
  const differ = await differences(said.record);
  // From here on it is the record itself that stands there, and not what the gateway wrote.
  bytes.textContent = JSON.stringify(said.record, null, 2);
  if (differ.length > 0) return tell(false, `Broken: the proof is good, but this page says something else than the record that it proves: ${differ.join(", ")}. The record itself stands at the end of the page.`);
  tell(true, `Good: record ${said.seq} stands in ${said.origin}, under a signed head over ${said.size} records with the root ${said.root}, and this page shows what that record says.`);
}

async function check() {
  try {
    await judge();
  } catch (error) {
    tell(false, `The verifier could not run here: ${error.message}`);
  }
}

/** The proof, or why there is none. */
async function fetched() {
  const answer = await fetch(place.dataset.proof);
  if (answer.ok) return answer.text();
  if (answer.status === 401) throw new Error("your session is over. Load this page again, and sign in.");
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the gateway answers with status ${answer.status}.`);
}

async function begin() {
  bytes.dataset.said = bytes.textContent;
  try {
    proof.value = await fetched();
  } catch (error) {
    tell(false, `There is no proof to check: ${error.message}`);
    return;
  }
  await check();
}

document.getElementById("check-again").addEventListener("click", check);
begin();
