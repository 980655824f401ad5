"use strict";
// Headings of tables become buttons that sort; equal rows keep their order, and the third press brings back the first one.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const numeric = heading.classList.contains("number");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const before = heading.getAttribute("aria-sort");
      const steps = numeric ? ["none", "descending", "ascending"] : ["none", "ascending", "descending"];
      const now = steps[(steps.indexOf(before) + 1) % 3];
      for (const other of headings) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", now);
      const rows = [...original];
      if (now !== "none") {
        const sign = now === "ascending" ? 1 : -1;
        const key = (row) => row.cells[column].dataset.key;
        const number = (row) => (key(row) === "" ? NaN : key(row) === "inf" ? Infinity : key(row) === "-inf" ? -Infinity : Number(key(row)));
        rows.sort((a, b) => {
          if (!numeric) return sign * key(a).localeCompare(key(b), undefined, { numeric: true });
          const [x, y] = [number(a), number(b)];
          if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
          return x === y ? 0 : sign * (x < y ? -1 : 1);
        });
      }
      body.append(...rows);
    });
  });
}
