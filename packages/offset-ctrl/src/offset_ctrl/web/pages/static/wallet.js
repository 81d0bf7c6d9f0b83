// What the pages can do more where scripts run. Every page works without it.
"use strict";

(() => {
  const REFRESH_MILLISECONDS = 150;
  const FILE_BYTES_MAX = 48 * 1024;
  const ASK_AGAIN_MILLISECONDS = 2_000;
  const ASK_LATER_MILLISECONDS = 60_000;
  const ASKED_MAX = 1_000;
  const AWAY_STATUS = 503;
  const RETRY_MILLISECONDS = 5_000;
  const SLIDER_LEAST = 100;
  const SLIDER_STEPS = 100;

  // As the server has sent it, to tell whether a new answer is another one.
  const sent = new Map();

  function regions(root) {
    return [...root.querySelectorAll("[data-live]")];
  }

  function isEdited(region) {
    const fields = [...region.querySelectorAll("input, textarea, select")];
    return fields.some((field) => {
      if (field.type === "hidden" || field.readOnly) return false;
      if (field === document.activeElement) return true;
      if (field.type === "range") return false;
      if (field.type === "checkbox") return field.checked !== field.defaultChecked;
      if (field.type === "file") return field.files.length > 0;
      return field.tagName !== "SELECT" && field.value !== field.defaultValue;
    });
  }

  // Times in the zone and the words of whoever reads them.
  function localise(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (!Number.isNaN(moment.valueOf())) {
        time.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
      }
    }
  }

  function showCopies(root) {
    for (const button of root.querySelectorAll("[data-copy]")) {
      button.hidden = !navigator.clipboard;
    }
    for (const field of root.querySelectorAll(".open-file")) {
      field.hidden = false;
    }
  }

  // A slider beside a number, which stays what is sent. It reaches twice as far as what is entered, in round steps.
  function roundUp(number) {
    const power = 10 ** Math.floor(Math.log10(number));
    return [1, 2, 5, 10].find((each) => each * power >= number) * power;
  }

  function numberIn(field) {
    const digits = field.value.replace(/\s/g, "");
    return /^\d{1,15}$/.test(digits) ? Number(digits) : null;
  }

  function place(slider, field) {
    const number = numberIn(field);
    slider.hidden = number === null && field.value !== "";
    if (slider.hidden) return;
    if (Number(slider.max) < number) slider.max = roundUp(2 * number);
    slider.step = Math.max(1, Number(slider.max) / SLIDER_STEPS);
    slider.value = number ?? 0;
  }

  function linkSliders(root) {
    for (const slider of root.querySelectorAll("[data-slides]")) {
      const field = document.getElementById(slider.dataset.slides);
      slider.max = roundUp(Math.max(SLIDER_LEAST, 2 * (numberIn(field) ?? 0)));
      place(slider, field);
      slider.addEventListener("input", () => { field.value = slider.value; });
      field.addEventListener("input", () => place(slider, field));
    }
  }

  function prepare(root) {
    localise(root);
    showCopies(root);
    linkSliders(root);
  }

  function replace(region, found) {
    const open = [...region.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const mark = focused && (focused.id ? `#${CSS.escape(focused.id)}` : focused.getAttribute("href") && `[href="${CSS.escape(focused.getAttribute("href"))}"]`);
    region.replaceChildren(...found.childNodes);
    for (const summary of region.querySelectorAll("details > summary")) {
      if (open.includes(summary.textContent)) summary.parentElement.open = true;
    }
    if (mark) region.querySelector(mark)?.focus();
    if (found.dataset.say && found.dataset.say !== region.dataset.say) {
      region.dataset.say = found.dataset.say;
      document.getElementById("said").textContent = found.dataset.say;
    }
    prepare(region);
    region.dispatchEvent(new Event("wallet:shown", { bubbles: true }));
  }

  let isRefreshing = false;
  let isWanted = false;

  async function refresh() {
    isWanted = true;
    if (isRefreshing) return;
    isRefreshing = true;
    try {
      while (isWanted) {
        isWanted = false;
        await new Promise((resume) => setTimeout(resume, REFRESH_MILLISECONDS));
        const answer = await fetch(location.href, { credentials: "same-origin", headers: { accept: "text/html" } });
        if (answer.status === 401) {
          location.reload();
          return;
        }
        if (!answer.ok && answer.status !== AWAY_STATUS) return;
        if (answer.ok && document.body.dataset.away !== undefined) {
          location.reload();
          return;
        }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const region of regions(document)) {
          const found = page.getElementById(region.id);
          if (!found || isEdited(region) || sent.get(region.id) === shown(found)) continue;
          sent.set(region.id, shown(found));
          replace(region, found);
        }
      }
    } catch {
      // The next event tries again.
    } finally {
      isRefreshing = false;
    }
  }

  // Each page has idempotency keys of its own, which say nothing of what it shows.
  function shown(region) {
    return region.innerHTML.replace(/name="key" value="[^"]*"/g, "");
  }

  // A browser has few connections to one host, so a page that nobody looks at holds none.
  function follow() {
    const address = document.body.dataset.events;
    if (!address || !regions(document).length || !window.EventSource) return;
    let source = null;
    function open() {
      source = new EventSource(address);
      for (const name of ["report", "report-change", "node", "payment", "invoice"]) {
        source.addEventListener(name, refresh);
      }
    }
    function look() {
      if (document.hidden) {
        source?.close();
        source = null;
      } else if (!source) {
        open();
      }
    }
    document.addEventListener("visibilitychange", look);
    window.addEventListener("pagehide", () => source?.close());
    look();
  }

  function pause(milliseconds) {
    return new Promise((resume) => setTimeout(resume, milliseconds));
  }

  function seen() {
    if (!document.hidden) return Promise.resolve();
    return new Promise((resume) => document.addEventListener("visibilitychange", resume, { once: true }));
  }

  // A buyer has no stream of events. The page asks, and the server answers when it is paid, or after a while.
  async function wait() {
    const address = document.body.dataset.wait;
    if (!address) return;
    let failures = 0;
    for (let asked = 0; asked < ASKED_MAX; asked += 1) {
      await seen();
      try {
        const answer = await fetch(address, { credentials: "omit" });
        if (answer.ok && (await answer.json()).state !== "open") {
          location.replace(location.href);
          return;
        }
        failures = answer.ok ? 0 : failures + 1;
      } catch {
        failures += 1;
      }
      await pause(Math.min(ASK_AGAIN_MILLISECONDS * 2 ** Math.min(failures, 5), ASK_LATER_MILLISECONDS));
    }
  }

  // The page for a server that can not be reached stands in the place of another one, which comes when it is back.
  async function retry() {
    const address = document.body.dataset.retry;
    if (!address) return;
    for (;;) {
      await pause(RETRY_MILLISECONDS);
      await seen();
      try {
        if ((await fetch(address, { cache: "no-store" })).ok) {
          location.reload();
          return;
        }
      } catch {
        // Not yet.
      }
    }
  }

  function keepShell() {
    if (document.body.dataset.shell) navigator.serviceWorker?.register(document.body.dataset.shell).catch(() => {});
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    document.getElementById("said").textContent = "Copied";
    const words = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 1500);
  });

  document.addEventListener("change", async (event) => {
    const into = event.target.dataset?.into;
    const file = event.target.files?.[0];
    if (!into || !file) return;
    const field = document.getElementById(into);
    if (file.size > FILE_BYTES_MAX) {
      field.value = "";
      field.setCustomValidity("This file is too large to be the right one.");
      field.reportValidity();
      return;
    }
    field.setCustomValidity("");
    field.value = await file.text();
    field.focus();
  });

  document.addEventListener("input", (event) => event.target.setCustomValidity?.(""));

  for (const region of regions(document)) sent.set(region.id, shown(region));
  prepare(document);
  follow();
  wait();
  retry();
  keepShell();
})();
