// -- the page of all plugins ---------------------------------------------------------------------

const tableBody = $('rows');
/** By name: the row's elements and the values that it shows. */
const rows = new Map();

function attachRow(tr) {
  const cells = {};
  for (const cell of tr.querySelectorAll('[data-f]')) cells[cell.dataset.f] = cell;
  const row = { tr, cells, time: part(tr, 'time'), values: [], index: -1, isVisible: false, sparklineTick: -1 };
  rows.set(tr.dataset.name, row);
  rowObserver.observe(tr);
  return row;
}

/** The name; something else for one that nobody could see. */
const visibleName = (name) => (/[^\s\u200b-\u200f]/.test(name) ? name : 'a name without visible characters');

function linkPlugin(link, name) {
  setAttr(link, 'href', `${body.dataset.base}plugin?name=${encodeURIComponent(name)}`);
  setAttr(link, 'title', visibleName(name));
}

function createRow(name) {
  const tr = $('row-template').content.firstElementChild.cloneNode(true);
  tr.dataset.name = name;
  linkPlugin(part(tr, 'a'), name);
  tableBody.append(tr);
  return attachRow(tr);
}

/** The fields in the server's order; four numbers to sort by follow them. */
const FIELDS = ['name', 'status', 'state', 'since', 'cpu', 'p95', 'memory', 'memory_change', 'rate',
  'recent_crashes', 'crashes', 'uptime', 'version', 'pid', 'own'];
const SORT_KEYS = { name: 0, urgency: 1, since: 3, crashes: 9, cpu: 15, memory: 16, rate: 17, uptime: 18 };

function updateRow(row, values) {
  FIELDS.forEach((field, index) => {
    const value = values[index];
    // The same time is shown with its date once the day is over.
    if (field === 'since') renderTime(row.time, value);
    else if (row.values[index] === value) return;
    else if (field === 'status') {
      setAttr(row.tr, 'data-status', STATUSES[value]);
      setText(row.cells.status, STATUSES[value]);
    } else if (field === 'own') {
      for (const cell of ['cpu', 'memory']) setAttr(row.cells[cell].parentElement, 'title', value);
    } else setText(row.cells[field], field === 'name' ? visibleName(value) : String(value));
  });
  row.values = values;
}

function updateIndexPage(data) {
  const removed = new Set(rows.keys());
  data.rows.forEach((values, index) => {
    const row = rows.get(values[0]) ?? createRow(values[0]);
    updateRow(row, values);
    row.index = index;
    removed.delete(values[0]);
  });
  for (const name of removed) {
    rowObserver.unobserve(rows.get(name).tr);
    rows.get(name).tr.remove();
    rows.delete(name);
  }
  setText(part($('verdict'), 'span'), data.verdict.text);
  setAttr($('verdict'), 'data-status', data.verdict.level);
  document.title = `${data.verdict.text.replace(/[.:].*$/, '')} \u2013 plugmeter`;
  updateFindings($('findings'), data.findings);
  updateFindings(part($('more'), 'ul'), data.more);
  setText(part($('more'), 'summary'), `and ${data.more_count} more`);
  $('more').hidden = data.more_count === 0;
  newestTimeline = data.timeline;
  filterTimeline();
  const totals = $('totals').querySelectorAll('dd');
  data.totals.forEach((text, index) => setText(totals[index], text));
  $('plugins').hidden = rows.size === 0;
  $('empty').hidden = rows.size > 0;
  $('tools').hidden = rows.size === 0;
  applyFilter();
  reorder(!isReorderBlocked());
}

function updateFindings(ul, findings) {
  // The element of a plugin follows it, so that a link does not change under the pointer.
  const unused = [...ul.children];
  findings.forEach(({ status, name, segments }, index) => {
    const at = unused.findIndex((li) => part(li, 'bdi').textContent === name);
    const li = at < 0 ? $('finding-template').content.firstElementChild.cloneNode(true) : unused.splice(at, 1)[0];
    const label = status === 'ok' ? 'note' : status;
    setAttr(li, 'data-status', label);
    setText(part(li, '.sr'), `${label}: `);
    setText(part(li, 'bdi'), name);
    linkPlugin(part(li, 'a'), name);
    renderSegments(part(li, 'p > span:last-child'), segments);
    const isInPlace = ul.children[index] === li;
    if (!isInPlace && !li.contains(document.activeElement)) ul.insertBefore(li, ul.children[index] ?? null);
  });
  for (const li of unused) li.remove();
  ul.hidden = findings.length === 0;
}

let newestTimeline;

/** Shows the newest notifications, or those of the plugins with the text of the filter in their names. */
async function filterTimeline() {
  const filter = $('timeline-filter');
  const names = filter.value.trim();
  log = newestTimeline?.version ?? log;
  if (!names) {
    if (newestTimeline) updateTimeline(newestTimeline);
    return;
  }
  try {
    const response = await fetchPath(`page/timeline?names=${encodeURIComponent(names)}`);
    const timeline = await response.json();
    if (response.ok && filter.value.trim() === names) updateTimeline(timeline);
  } catch {
    return; // The next refresh shows the error.
  }
}

function updateTimeline({ version, items, note }) {
  log = version;
  fillList(part($('timeline'), 'ol'), 'timeline-template', items, (li, { status, at, name, text }) => {
    setAttr(li, 'data-status', status);
    renderTime(part(li, 'time'), at);
    setText(part(li, '.sr'), `${status}: `);
    const link = part(li, 'a');
    if (link) {
      linkPlugin(link, name);
      setText(link.firstElementChild, name);
    }
    setText(part(li, 'p > bdi'), text);
  });
  setText($('timeline-note'), note);
  $('timeline').hidden = items.length === 0 && !$('timeline-filter')?.value;
}

// -- sparklines of the visible rows --------------------------------------------------------------

let isDrawing = false;
let drawTimer;

const rowObserver = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const row = rows.get(target.dataset.name);
    if (row) row.isVisible = isIntersecting;
  }
  // Scrolling passes many rows before it stops.
  clearTimeout(drawTimer);
  drawTimer = setTimeout(fetchSparklines, 120);
}, { rootMargin: '60px' });

async function fetchSparklines() {
  if (isDrawing || document.hidden || errorText) return;
  const outdated = [...rows.values()].filter((row) => row.isVisible && row.index >= 0 && row.sparklineTick !== tick);
  if (outdated.length === 0) return;
  isDrawing = true;
  try {
    // More rows than a window can show are left for the next time.
    const response = await fetchPath(`page/lines?at=${outdated.slice(0, 128).map((row) => row.index)}`);
    if (response.status !== 200) return;
    const data = await response.json();
    for (const [name, lines] of data.lines) {
      const row = rows.get(name);
      if (!row) continue;
      row.sparklineTick = Math.max(data.tick, tick);
      for (const path of row.tr.querySelectorAll('path')) setAttr(path, 'd', lines[path.dataset.l]);
    }
  } catch {
    return; // The next refresh shows the error.
  } finally {
    isDrawing = false;
  }
}

