// Sorts a table by the column whose header is pressed, and copies commands.
"use strict";

const NUMBER = /^[+\-\u2212<\s]*[\d,]*\.?\d+/;

function valueOf(cell) {
  const text = cell.textContent.trim();
  const found = text.match(NUMBER);
  return found ? Number(found[0].replace("\u2212", "-").replace(/[,+<\s]/g, "")) : NaN;
}

function compare(one, other, place, isText) {
  const [a, b] = [one.cells[place], other.cells[place]];
  return isText ? a.textContent.localeCompare(b.textContent, "en", { numeric: true }) : valueOf(a) - valueOf(b);
}

function sort(table, place) {
  const headers = [...table.tHead.rows[0].cells];
  const header = headers[place];
  const isText = header.classList.contains("text");
  const first = isText ? "ascending" : "descending";
  const second = isText ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? second : first;
  headers.forEach((it) => it.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const isEmpty = (row) => !isText && Number.isNaN(valueOf(row.cells[place]));
  const rows = [...body.rows].sort((one, other) => {
    if (isEmpty(one) || isEmpty(other)) return isEmpty(one) - isEmpty(other); // rows without a value come last
    return sign * compare(one, other, place, isText);
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, place));
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      window.getSelection().selectAllChildren(code); // the browser forbids it: select what is to be copied
    }
  });
}
