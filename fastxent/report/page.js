"use strict";
const make = (name, properties) => Object.assign(document.createElement(name), properties);

// Marks of pictures: one of each picture is reached by Tab, the others from there by arrows; what is reached says itself.
const tip = make("div", { className: "tip", hidden: true });
document.querySelector("main").append(tip);
for (const plot of document.querySelectorAll("svg.plot")) {
  const marks = [...plot.querySelectorAll("title")].map((title) => title.parentNode);
  marks.forEach((mark, i) => {
    mark.setAttribute("role", "img");
    mark.setAttribute("tabindex", i ? "-1" : "0");
  });
  const middle = (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const above = (from, sign) => {
    const [x, y] = middle(from);
    const away = (mark) => Math.abs(middle(mark)[0] - x) * 3 + Math.abs(middle(mark)[1] - y);
    const there = marks.filter((mark) => sign * (middle(mark)[1] - y) > 1);
    return there.reduce((best, mark) => (best && away(best) <= away(mark) ? best : mark), undefined);
  };
  const figure = plot.closest("figure"); // an <svg> that listens to focus would be a stop of its own
  figure.addEventListener("keydown", (event) => {
    const at = marks.indexOf(document.activeElement);
    const next = {
      ArrowRight: () => marks[at + 1], ArrowLeft: () => marks[at - 1], Home: () => marks[0], End: () => marks.at(-1),
      ArrowDown: () => above(marks[at], 1), ArrowUp: () => above(marks[at], -1),
    }[event.key];
    if (event.key === "Escape") tip.hidden = true;
    if (at < 0 || !next) return;
    event.preventDefault();
    const mark = next();
    if (!mark) return;
    marks[at].setAttribute("tabindex", "-1");
    mark.setAttribute("tabindex", "0");
    mark.focus();
  });
  figure.addEventListener("focusin", (event) => {
    tip.textContent = event.target.querySelector("title")?.textContent ?? "";
    tip.hidden = !tip.textContent;
    const box = event.target.getBoundingClientRect();
    const left = Math.min(box.x + box.width / 2, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(left, 8) + scrollX}px`;
    tip.style.top = `${box.bottom + 8 + scrollY}px`;
  });
  figure.addEventListener("focusout", () => (tip.hidden = true));
}

// Tables: headings become buttons that sort (equal rows keep their order, the third press brings back the first order),
// a box filters, a button gives all rows as CSV.
const text = (cell) => cell.dataset.key || cell.textContent;
const number = (cell) => ({ inf: Infinity, "-inf": -Infinity })[text(cell)] ?? Number(text(cell));
const field = (cell) => {
  const numeric = cell.tagName === "TD" && cell.classList.contains("number");
  const value = numeric ? text(cell).replace("–", "") : cell.textContent;
  const safe = !numeric && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value; // no formula for a spreadsheet
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const csv = () => [headings, ...original.map((row) => [...row.cells])].map((cells) => cells.map(field).join(",") + "\r\n").join("");
  const tools = make("div", { className: "tools" });
  if (original.length > 10) {
    const box = make("input", { type: "search", placeholder: "Filter lines" });
    const left = make("span");
    left.setAttribute("role", "status");
    box.setAttribute("aria-label", `Filter lines of ${table.caption.textContent}`);
    box.addEventListener("input", () => {
      const wanted = box.value.toLowerCase();
      for (const row of original) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      left.textContent = wanted ? `${original.filter((row) => !row.hidden).length} of ${original.length} lines` : "";
    });
    tools.append(box, left);
  }
  const button = make("button", { type: "button", textContent: "CSV" });
  button.setAttribute("aria-label", `Download as CSV: ${table.caption.textContent}`);
  button.addEventListener("click", () => {
    const download = `${table.caption.textContent.replace(/[^\w]+/g, "-").slice(0, 60)}.csv`;
    const link = make("a", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  tools.append(button);
  table.closest(".scroll").before(tools);
  if (original.length < 2) continue;
  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const numeric = heading.classList.contains("number");
    const sorter = make("button", { type: "button" });
    sorter.append(...heading.childNodes);
    heading.append(sorter);
    heading.setAttribute("aria-sort", "none");
    sorter.addEventListener("click", () => {
      const steps = numeric ? ["none", "descending", "ascending"] : ["none", "ascending", "descending"];
      const now = steps[(steps.indexOf(heading.getAttribute("aria-sort")) + 1) % 3];
      for (const other of headings) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", now);
      const rows = [...original];
      const sign = now === "ascending" ? 1 : -1;
      if (now !== "none") {
        rows.sort((a, b) => {
          const [x, y] = [a.cells[column], b.cells[column]];
          if (!numeric) return sign * text(x).localeCompare(text(y), undefined, { numeric: true });
          const [p, q] = [number(x), number(y)];
          if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q);
          return p === q ? 0 : sign * (p < q ? -1 : 1);
        });
      }
      body.append(...rows);
    });
  });
}
