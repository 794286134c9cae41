// What the console's pages do besides being pages: they keep themselves up to date, and can be used from the keyboard.
// Everything works without this, by links and forms. Nothing here decides or checks anything: the gateway does.
"use strict";

// --- parts that keep themselves up to date ---------------------------------------------------------------------------
// A form that somebody has begun to fill in stays as it is, whatever happens around it.
document.addEventListener("input", (event) => event.target.form?.setAttribute("data-touched", ""));

const keep = {
  morphStyle: "innerHTML",
  ignoreActiveValue: true,
  callbacks: {
    beforeNodeMorphed: (old) => !(old.nodeType === 1 && (old.hasAttribute("data-touched") || old.hasAttribute("data-own"))),
  },
};

function say(text) {
  document.getElementById("said").textContent = text;
}

// The browser's own EventSource comes back after a broken connection, and gives up after a refusal: then the session is over.
for (const part of document.querySelectorAll("[data-live]")) {
  const events = new EventSource(part.dataset.live);
  events.onmessage = (event) => {
    Idiomorph.morph(part, JSON.parse(event.data), keep);
    part.dataset.fresh = "";
    const count = part.querySelector(".count");
    if (count && part.dataset.count !== count.textContent) {
      if (part.dataset.count !== undefined) say(`${count.textContent} waiting`);
      part.dataset.count = count.textContent;
    }
    part.dispatchEvent(new CustomEvent("fresh", { bubbles: true }));
  };
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) say("This page no longer updates itself: load it again.");
  };
}

// On a phone the pages' names stand in a row that scrolls: the one that is shown is seen.
document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });

// --- keyboard ---------------------------------------------------------------------------------------------------------
const help = document.getElementById("help");
const switchedOn = document.getElementById("keys-on");
const button = document.getElementById("keys");
button.hidden = false;
button.addEventListener("click", () => help.showModal());
switchedOn.checked = localStorage.getItem("keys") !== "off";
switchedOn.addEventListener("change", () => localStorage.setItem("keys", switchedOn.checked ? "on" : "off"));

const entries = () => [...document.querySelectorAll("[data-entry]")];

function step(by) {
  const all = entries();
  if (all.length === 0) return;
  const at = all.indexOf(document.activeElement?.closest("[data-entry]"));
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
  all[next].focus();
  all[next].scrollIntoView({ block: "nearest" });
}

function order(key) {
  const form = document.activeElement?.closest("[data-entry]")?.querySelector(`form[data-key="${key}"]`);
  if (!form) return false;
  // A form that still needs words asks for them.
  const missing = [...form.elements].find((field) => !field.checkValidity());
  if (missing) missing.focus();
  else form.requestSubmit();
  return true;
}

let going = false;
document.addEventListener("keydown", (event) => {
  if (!switchedOn.checked || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const field = event.target.closest?.("input, textarea, select");
  if (field) {
    if (event.key === "Escape") field.closest("[data-entry]")?.focus();
    return;
  }
  const key = event.key;
  if (going) {
    going = false;
    document.querySelector(`nav a[data-go="${CSS.escape(key)}"]`)?.click();
    return;
  }
  if (key === "g") going = true;
  else if (key === "j") step(1);
  else if (key === "k") step(-1);
  else if (key === "?") help.showModal();
  else if (key === "/") {
    const search = document.querySelector("[data-search]");
    if (!search) return;
    search.focus();
  } else if (!order(key)) return;
  event.preventDefault();
});
