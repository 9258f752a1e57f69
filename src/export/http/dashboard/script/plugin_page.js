// -- the page of one plugin ----------------------------------------------------------------------

function updatePluginPage(data) {
  setAttr($('verdict'), 'data-status', data.level);
  setText(part($('verdict'), '.level'), data.level);
  renderSegments($('assessment'), data.segments);
  const figures = $('totals').querySelectorAll('dd');
  data.key_figures.forEach((text, index) => setText(figures[index], text));
  valueCharts.forEach((section, index) => updateChart(section, data.charts[index], data.times));
  updateBand(data.band);
  if ($('data').open) updateData(data.data);
  newestData = data.data;
  for (const id of ['processes', 'limits', 'kinds', 'versions']) updateTable($(id), data[id]);
  updateRuns(data.runs);
  updateTimeline(data.timeline);
  updateCursor(data);
}

const valueCharts = document.querySelectorAll('section.values');
/** The rows of the table of data, which is only written while it is open. */
let newestData;

function updateData(rows) {
  const table = part($('data'), 'tbody');
  while (table.rows.length > rows.length) table.lastElementChild.remove();
  rows.forEach(({ at, cells }, index) => {
    let tr = table.rows[index];
    if (!tr) {
      tr = table.insertRow();
      tr.insertCell().append(document.createElement('time'));
      tr.firstChild.firstChild.dataset.exact = '';
    }
    renderTime(part(tr, 'time'), at);
    cells.forEach((text, column) => {
      const td = tr.cells[column + 1] ?? tr.insertCell();
      td.className = column < 3 ? 'num' : '';
      setText(td, text);
    });
  });
}

// Of each row, the first cell is a name, and the others are numbers.
function updateTable(section, rows) {
  section.hidden = rows.length === 0;
  const table = part(section, 'tbody');
  while (table.rows.length > rows.length) table.lastElementChild.remove();
  rows.forEach((texts, index) => {
    const tr = table.rows[index] ?? table.insertRow();
    texts.forEach((text, column) => {
      const td = tr.cells[column] ?? tr.insertCell();
      td.className = column === 0 ? 'version' : 'num';
      if (column === 0 && td.firstElementChild === null) td.append(document.createElement('bdi'));
      setText(column === 0 ? td.firstElementChild : td, text);
    });
  });
}

function updateChart(section, chart, times) {
  setText(part(section, '.now'), chart.now);
  setText(part(section, '.summary'), chart.summary);
  section.querySelectorAll('dd').forEach((dd, index) => {
    setText(dd, chart.stats[index]);
    dd.parentElement.hidden = chart.stats[index] === '';
  });
  section.querySelectorAll('.axis span').forEach((span, index) => setText(span, chart.labels[index]));
  section.querySelectorAll('.times time').forEach((time, index) => renderTime(time, times[index]));
  part(section, '.no-data').hidden = !chart.is_empty;
  for (const kind of ['area', 'limit', 'line']) setAttr(part(section, `path.${kind}`), 'd', chart[kind]);
  setAttr(part(section, '.restart'), 'd', chart.restarts);
  setAttr(part(section, '.crash'), 'd', chart.crashes);
  updateMarks(section, chart.marks);
}

/** The spans of findings in a chart, and their sentences below it. */
function updateMarks(section, { spans, items }) {
  ['error', 'warning', 'note'].forEach((status, index) => {
    setAttr(part(section, `.span.${status}`), 'd', spans[index]);
  });
  const ul = part(section, '.marked');
  ul.hidden = items.length === 0;
  fillList(ul, 'marked-template', items, (li, { status, segments, evidence }) => {
    setAttr(li, 'data-status', status);
    setText(part(li, '.sr'), `${status}: `);
    renderSegments(part(li, 'p > span:last-child'), segments);
    setText(part(li, 'details p'), evidence);
  });
}

/** The runs below the charts. */
function updateBand({ runs, summary, marks }) {
  setText($('band-summary'), summary);
  updateMarks($('band'), marks);
  const band = part(document, 'svg.band');
  while (band.children.length > runs.length) band.lastElementChild.remove();
  runs.forEach(([x, width, kind, label, title], index) => {
    const run = band.children[index]
      ?? band.appendChild(part($('band-template').content, 'svg svg').cloneNode(true));
    for (const [name, value] of Object.entries({ x, width, class: kind })) setAttr(run, name, value);
    setText(part(run, 'text'), label);
    setText(part(run, 'title'), title);
  });
}

function updateRuns(runs) {
  const table = $('runs').tBodies[0];
  const unused = new Map([...table.rows].map((tr) => [tr.dataset.run, tr]));
  runs.forEach((run, index) => {
    const tr = unused.get(String(run.id)) ?? $('run-template').content.firstElementChild.cloneNode(true);
    unused.delete(String(run.id));
    tr.dataset.run = run.id;
    tr.classList.toggle('unclean', run.is_unclean);
    const cells = tr.cells;
    setText(cells[0].firstElementChild, run.version);
    setText(cells[1], String(run.pid));
    renderTime(cells[2].firstElementChild, run.started);
    if (run.ended !== null) {
      if (cells[3].firstElementChild === null) cells[3].replaceChildren(cells[2].firstElementChild.cloneNode());
      renderTime(cells[3].firstElementChild, run.ended);
    }
    setText(cells[4].firstElementChild, run.duration);
    const link = new URL($('zoom-out').href);
    link.search += `&from=${run.zoom[0]}&to=${run.zoom[1]}`;
    cells[4].firstElementChild.href = link;
    setText(cells[5], run.cpu);
    setText(cells[6], run.end);
    if (table.rows[index] !== tr) table.insertBefore(tr, table.rows[index] ?? null);
  });
  for (const tr of unused.values()) tr.remove();
}

