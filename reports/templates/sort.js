document.querySelectorAll("table.sortable th").forEach((head) => {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const index = head.cellIndex;
    const down = head.dataset.order === "up";
    const value = (row) => {
      const cell = row.cells[index];
      return cell.dataset.sort === undefined ? cell.textContent.trim() : Number(cell.dataset.sort);
    };
    const unknown = (v) => v === "–" || v === "";
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (unknown(x) || unknown(y)) return unknown(x) - unknown(y);
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return down ? -order : order;
    };
    [...body.rows].sort(compare).forEach((row) => body.append(row));
    head.parentNode.querySelectorAll("th").forEach((other) => delete other.dataset.order);
    head.dataset.order = down ? "down" : "up";
  });
});
