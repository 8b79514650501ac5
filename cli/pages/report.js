"use strict";
document.addEventListener("DOMContentLoaded", () => {
  // Rows of all tables that have the text; a folded table with a hit is opened.
  const box = document.getElementById("-find");
  const hits = document.getElementById("-hits");
  const rows = [...document.querySelectorAll("table.rows > tbody > tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const filter = () => {
    const wanted = box.value.trim().toLowerCase();
    let count = 0;
    rows.forEach((row, number) => {
      const hit = texts[number].includes(wanted);
      row.hidden = !hit;
      if (hit) count += 1;
      if (hit && wanted) {
        const fold = row.closest("details");
        if (fold) fold.open = true;
      }
    });
    hits.textContent = wanted ? `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows` : "";
  };
  box.closest("[role=search]").hidden = false;
  box.addEventListener("input", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(input|textarea)$/.test(event.target.localName)) {
      event.preventDefault();
      box.focus();
    } else if (event.key === "Escape" && event.target === box) {
      box.value = "";
      filter();
    }
  });
  // What a link leads to is opened.
  const opened_by_link = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.querySelector("summary").focus();
    }
  };
  addEventListener("hashchange", opened_by_link);
  opened_by_link();
  // What is folded is printed, too.
  const folds = () => document.querySelectorAll("details");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...folds()].filter((fold) => !fold.open);
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });
});
