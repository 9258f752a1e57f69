// -- the page of one plugin ----------------------------------------------------------------------

function updatePluginPage(data) {
  setAttr($('verdict'), 'data-status', data.level);
  setText($('verdict').querySelector('.level'), data.level);
  renderSegments($('assessment'), data.segments);
  const figures = $('totals').querySelectorAll('dd');
  data.key_figures.forEach((text, index) => setText(figures[index], text));
  document.querySelectorAll('section.chart').forEach((section, index) => {
    updateChart(section, data.charts[index], data.times);
  });
  updateTable($('kinds'), data.kinds);
  updateTable($('versions'), data.versions);
  updateRuns(data.runs);
}

// Of each row, the first cell is a name, and the others are numbers.
function updateTable(section, rows) {
  section.hidden = rows.length === 0;
  const table = section.querySelector('tbody');
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
  setText(section.querySelector('.now'), chart.now);
  setText(section.querySelector('.summary'), chart.summary);
  section.querySelectorAll('dd').forEach((dd, index) => setText(dd, chart.stats[index]));
  section.querySelectorAll('.axis span').forEach((span, index) => setText(span, chart.labels[index]));
  section.querySelectorAll('time').forEach((time, index) => renderTime(time, times[index]));
  section.querySelector('.no-data').hidden = !chart.is_empty;
  for (const kind of ['area', 'limit', 'line']) setAttr(section.querySelector(`.${kind}`), 'd', chart[kind]);
  setAttr(section.querySelector('.restart'), 'd', chart.restarts);
  setAttr(section.querySelector('.crash'), 'd', chart.crashes);
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
    setText(cells[4], run.duration);
    setText(cells[5], run.cpu);
    setText(cells[6], run.end);
    if (table.rows[index] !== tr) table.insertBefore(tr, table.rows[index] ?? null);
  });
  for (const tr of unused.values()) tr.remove();
}

