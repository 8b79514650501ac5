"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // The page's own ids begin with a hyphen; those of routines and rows do not.
  const own = (id) => document.getElementById("-" + id);
  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

  const say = (text) => { own("status").textContent = text; };

  // Folds: a body of rows that follows the body with its button.

  const unfold = (body, open) => {
    body.classList.toggle("o", open);
    body.previousElementSibling.querySelector("button").setAttribute("aria-expanded", open);
  };

  const reveal = (element) => {
    for (let d = element.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
    const body = element.closest("tbody.e");
    if (body) unfold(body, true);
  };

  let unfolded = false;
  const unfoldAll = () => {
    unfolded = !unfolded;
    for (const each of document.querySelectorAll(".code details")) each.open = unfolded;
    for (const each of document.querySelectorAll("tbody.e")) unfold(each, unfolded);
    own("fold-word").textContent = unfolded ? "Fold all" : "Unfold all";
    say(unfolded ? "all unfolded" : "all folded");
  };

  // What scrolls sideways has to be reached with the keyboard; what does not is no stop for Tab.
  const roomy = matchMedia("(min-width: 68rem)");
  const markScrollers = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      // Code is not measured: that would lay out all that is folded, and it scrolls by a media query.
      if (box.closest(".code") ? !roomy.matches : box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };

  // Filter by kind.

  const off = new Set();
  let starts = [];
  const boxes = () => [...document.querySelectorAll("#-kinds input")];
  const kindOf = (row) => /(?:^| )k-(\w+)/.exec(row.className)[1];
  const counts = (row) => row.classList.contains("c") && !off.has(kindOf(row));

  // Where runs of changes begin, in the order of the page.
  const findStarts = () => {
    starts = [];
    for (const table of document.querySelectorAll("table.side")) {
      let before = false;
      for (const row of table.rows) {
        if (row.parentNode.className === "f") continue;
        const now = counts(row);
        if (now && !before) starts.push(row);
        before = now;
      }
    }
  };

  const filter = (announce) => {
    let shown = 0, all = 0;
    off.clear();
    for (const box of boxes()) {
      const count = parseInt(box.parentNode.querySelector(".n").textContent, 10);
      all += count;
      if (box.checked) shown += count;
      else off.add(box.value);
      root.classList.toggle("off-" + box.value, !box.checked);
    }
    findStarts();
    if (!announce) return;
    say(off.size ? `showing ${shown.toLocaleString("en")} of ${plural(all, "change")}` : `showing all ${plural(all, "change")}`);
    remember(here());
  };

  const check = (wanted) => {
    for (const box of boxes()) box.checked = wanted(box.value);
  };

  // Permalinks: #id, or #id;only=kind,kind.

  const here = () => location.hash.slice(1).split(";")[0];
  const fragment = (id) => {
    const only = boxes().filter((box) => box.checked).map((box) => box.value);
    return "#" + id + (off.size ? ";only=" + only.join(",") : "");
  };
  const remember = (id) => history.replaceState(null, "", fragment(id));

  // Rows without a change have no id: they are found by their offset.
  const find = (id) => {
    const element = document.getElementById(id);
    const parts = /^(.+)\+0x([0-9a-f]+)-([lr])$/.exec(id);
    if (element || !parts) return element;
    const routine = document.getElementById(parts[1]);
    if (!routine) return null;
    for (const row of routine.querySelectorAll("table.side > tbody > tr")) {
      const cell = row.cells[parts[3] === "l" ? 0 : row.cells.length - 4];
      if (cell && cell.className === "o" && cell.textContent === parts[2]) return row;
    }
    return null;
  };

  let current = null;
  const place = (element) => {
    const scroll = () => element.scrollIntoView({ block: /^(tr|td)$/.test(element.localName) ? "center" : "start", inline: "nearest" });
    scroll();
    // Tables that come near are laid out and push it away.
    requestAnimationFrame(() => { scroll(); requestAnimationFrame(scroll); });
  };
  const go = (element) => {
    reveal(element);
    if (current) current.classList.remove("t");
    current = element;
    if (element.localName === "tr") element.classList.add("t");
    const target = element.localName === "details" ? element.querySelector("summary") : element;
    if (!target.matches("a, button, input, summary, [tabindex]")) target.tabIndex = -1;
    target.focus({ preventScroll: true });
    place(element);
  };

  const arrive = () => {
    let text = location.hash.slice(1);
    try { text = decodeURIComponent(text); } catch { /* as it is */ }
    const [id, only] = text.split(";only=");
    if (only !== undefined) {
      const wanted = only.split(",");
      check((kind) => wanted.includes(kind));
      filter(false);
    }
    if (!id) return;
    const element = find(id);
    if (element) go(element);
    else say("this page has no such place: " + id.slice(0, 100));
  };

  const follow = (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const wanted = fragment(link.getAttribute("href").slice(1));
    if (location.hash === wanted) arrive();
    else location.hash = wanted;
  };

  // The next and the previous run of changes.

  const describe = (row) => {
    const text = (cells) => [...row.querySelectorAll(cells)].map((cell) => cell.textContent.trim().replace(/\s+/g, " "));
    return `${text(".w")[0]}: ${text("td.i").join(" → ")}`;
  };

  const step = (forward) => {
    if (!starts.length) return say("no change to go to");
    const follows = (row) => current.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING;
    const precedes = (row) => current.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_PRECEDING;
    let at = 0;
    if (current && forward) at = starts.findIndex(follows);
    else if (current) at = starts.findLastIndex(precedes);
    else if (!forward) at = -1;
    const around = at < 0;
    if (around) at = forward ? 0 : starts.length - 1;
    const row = starts[at];
    go(row);
    remember(row.id);
    say(`change ${at + 1} of ${starts.length}${around && starts.length > 1 ? ", around the end" : ""}: ${describe(row)}`);
  };

  // Find.

  let places = null, hits = [], hit = -1, wait = 0, sought = "";
  const seek = () => {
    clearTimeout(wait);
    const text = own("find").value.trim().replace(/\s+/g, " ").toLowerCase();
    if (text === sought) return;
    sought = text;
    for (const each of hits) each.classList.remove("h", "at");
    hit = -1;
    places ??= [...document.querySelectorAll(".code summary > :is(h3, h4), .code td.i")].map((each) => [each, each.textContent.toLowerCase()]);
    hits = text ? places.filter((place) => place[1].includes(text)).map((place) => place[0]) : [];
    for (const each of hits) each.classList.add("h");
    own("hits").textContent = text ? plural(hits.length, "hit") : "";
  };

  const seekOn = (forward) => {
    seek();
    if (!hits.length) return;
    if (hit >= 0) hits[hit].classList.remove("at");
    hit = hit < 0 ? (forward ? 0 : hits.length - 1) : (hit + (forward ? 1 : hits.length - 1)) % hits.length;
    const element = hits[hit];
    element.classList.add("at");
    reveal(element);
    // The focus stays in the field, so that Enter goes on.
    current = element.closest("tr") || element;
    place(element);
    own("hits").textContent = `${hit + 1} of ${plural(hits.length, "hit")}`;
  };

  // Theme: as the system has it until asked otherwise; nothing is stored.

  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const nameTheme = () => { own("theme").textContent = dark() ? "Light theme" : "Dark theme"; };

  const keys = {
    n: () => step(true),
    p: () => step(false),
    f: unfoldAll,
    "/": () => { own("find").focus(); own("find").select(); },
    "?": () => own("help").showModal(),
  };

  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !own("keys").checked) return;
    if (event.target.matches('input:not([type="checkbox"])') || own("help").open) return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };

  document.addEventListener("DOMContentLoaded", () => {
    const on = (id, type, action) => own(id)?.addEventListener(type, action);
    on("prev", "click", () => step(false));
    on("next", "click", () => step(true));
    on("fold", "click", unfoldAll);
    on("find", "input", () => { clearTimeout(wait); wait = setTimeout(seek, 150); });
    on("find", "keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); seekOn(!event.shiftKey); }
      if (event.key === "Escape") { own("find").value = ""; seek(); }
    });
    on("find-next", "click", () => seekOn(true));
    on("find-prev", "click", () => seekOn(false));
    on("kinds", "change", () => filter(true));
    on("all", "click", () => { check(() => true); filter(true); });
    on("none", "click", () => { check(() => false); filter(true); });
    on("help-open", "click", keys["?"]);
    on("theme", "click", () => { root.dataset.theme = dark() ? "light" : "dark"; nameTheme(); });
    system.addEventListener("change", nameTheme);
    for (const [id, name, when] of [["words", "no-words", false], ["lines", "no-lines", false], ["source", "with-source", true]]) {
      const apply = () => { root.classList.toggle(name, own(id).checked === when); markScrollers(); };
      on(id, "change", apply);
      // Where there is little room, the code itself comes first.
      own(id).checked = id !== "source" && matchMedia("(min-width: 44rem)").matches;
      apply();
    }
    if (!document.querySelector("td.l:not(:empty)")) {
      for (const id of ["lines", "source"]) own(id).parentNode.hidden = true;
    }
    document.addEventListener("click", (event) => {
      const button = event.target.closest(".f button");
      if (button) {
        const body = button.closest("tbody").nextElementSibling;
        unfold(body, !body.classList.contains("o"));
      }
      follow(event);
    });
    document.addEventListener("keydown", pressed);
    addEventListener("resize", markScrollers);
    addEventListener("hashchange", arrive);
    // The browser scrolls to the fragment itself while it loads, and knows of no bar above.
    addEventListener("load", () => { if (current) place(current); });
    new ResizeObserver(() => {
      const bar = own("bar");
      const sticky = getComputedStyle(bar).position === "sticky";
      root.style.setProperty("--bar", (sticky ? bar.offsetHeight : 0) + "px");
    }).observe(own("bar"));
    nameTheme();
    check(() => true);
    filter(false);
    arrive();
  });
})();
