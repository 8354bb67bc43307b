
"use strict";
// A click on a heading sorts the rows of its table; empty cells stay last.
function compare(left, right, numeric) {
  return numeric ? Number(left) - Number(right) : left.localeCompare(right);
}
function sortBy(table, column) {
  const headings = [...table.tHead.rows[0].cells];
  const heading = headings[column];
  const falling = heading.getAttribute("aria-sort") === "ascending";
  const numeric = heading.classList.contains("number");
  const text = (row) => row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    if (!text(a) || !text(b)) return Number(!text(a)) - Number(!text(b));
    return (falling ? -1 : 1) * compare(text(a), text(b), numeric);
  });
  table.tBodies[0].append(...rows);
  for (const other of headings) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, column));
    heading.append(button);
  });
}
