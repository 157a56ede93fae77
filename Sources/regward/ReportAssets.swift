/// How a report looks, and what its tables can do.
enum ReportAssets {
  static let style = """
    :root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--faint:#59636e;--line:#d1d9e0;--head:#f6f8fa;--red:#c1121f;--blue:#0757ba}
    @media (prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6edf3;--faint:#9198a1;--line:#3d444d;--head:#161b22;--red:#ff7b72;--blue:#79b8ff}}
    *{box-sizing:border-box}body{margin:0;font:15px/1.5 system-ui,sans-serif;background:var(--back);color:var(--text)}
    header,main{max-width:1400px;margin:auto;padding:0 24px}h1{font-size:24px;margin:24px 0 4px}h2{font-size:18px;margin:28px 0 8px}
    header p,.legend,output{color:var(--faint)}svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--text)}
    svg .time{fill:var(--faint)}svg .row{stroke:var(--line)}svg .axis{stroke:var(--faint)}svg .done{fill:none;stroke:var(--blue);stroke-width:1.5}
    svg .refused{fill:none;stroke:var(--red);stroke-width:2.2}span.done{color:var(--blue)}span.refused{color:var(--red);margin-left:1em}
    .tools{display:flex;gap:20px;align-items:center;flex-wrap:wrap}input[type=search]{font:inherit;padding:4px 8px;width:280px}
    .scroll{overflow:auto;max-height:70vh;border:1px solid var(--line)}table{border-collapse:collapse;width:100%;font-size:13px}
    th,td{text-align:left;padding:4px 10px;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
    thead th,#events td:is(:first-child,:nth-child(4),:nth-child(6)){white-space:nowrap}#events td:nth-child(2){min-width:8em}td.number{white-space:nowrap}td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}thead th{position:sticky;top:0;background:var(--head)}
    th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible{outline:2px solid var(--blue)}
    th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
    tr.refused td{color:var(--red)}tr.refused td:first-child::before{content:"✕ "}
    """

  static let script = """
    "use strict";
    for (const table of document.querySelectorAll("table")) {
      const of = kind => document.querySelector(`${kind}[data-table="${table.id}"]`);
      const search = of("input[type=search]"), only = of("input[type=checkbox]"), count = of("output");
      const body = table.tBodies[0], rows = Array.from(body.rows), heads = Array.from(table.tHead.rows[0].cells);
      const filter = () => {
        const words = search.value.toLowerCase().split(/\\s+/).filter(word => word);
        let shown = 0;
        for (const row of rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = only.checked && !row.classList.contains("refused") || !words.every(word => text.includes(word));
          if (!row.hidden) shown++;
        }
        count.value = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
      };
      search.addEventListener("input", filter);
      only.addEventListener("change", filter);
      heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const numeric = head.classList.contains("number"), cell = row => row.cells[column].textContent;
        const compare = (a, b) => numeric ? cell(a) - cell(b) : cell(a) < cell(b) ? -1 : cell(a) > cell(b) ? 1 : 0;
        rows.sort((a, b) => down ? compare(b, a) : compare(a, b));
        body.append(...rows);
      }));
    }
    """
}
