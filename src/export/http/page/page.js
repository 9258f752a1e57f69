'use strict';
// Puts newer words and paths into the places where the page has older ones. All of them are made by
// the server: here is only where they go, in which order the rows are, and when to ask.

const body = document.body;
const $ = (id) => document.getElementById(id);
const isIndex = body.dataset.page === 'index';
const WORDS = ['ok', 'warning', 'error'];
const ageText = $('age');
const interval = Number(ageText?.dataset.interval);

// -- words and times -----------------------------------------------------------------------------

/** Nothing is written that is there already: what is selected stays so, and nothing is laid out anew. */
function say(element, text) {
  const node = element.firstChild;
  if (!node) element.textContent = text;
  else if (node.data !== text) node.data = text;
}

function put(element, attribute, value) {
  if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
}

/** The moment of the newest tick: what is of another day is told with its date. */
let now = Date.now();

/** A moment in the browser's zone; its title says it in UTC. */
function tell(element, millis) {
  const two = (number) => String(number).padStart(2, '0');
  const at = new Date(millis);
  let text = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if ('exact' in element.dataset) text += `:${two(at.getSeconds())}`;
  if (at.toDateString() !== new Date(now).toDateString()) {
    text = `${two(at.getMonth() + 1)}-${two(at.getDate())} ${text}`;
  }
  say(element, text);
  const iso = at.toISOString();
  if (element.dateTime !== iso) {
    element.dateTime = iso;
    element.title = `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
  }
}

/** A sentence: texts, and moments as numbers. */
function narrate(element, pieces) {
  pieces.forEach((piece, nth) => {
    const isTime = typeof piece === 'number';
    let node = element.childNodes[nth];
    if (node?.nodeName !== (isTime ? 'TIME' : '#text')) {
      const made = isTime ? document.createElement('time') : document.createTextNode('');
      if (node) node.replaceWith(made);
      else element.append(made);
      node = made;
    }
    if (isTime) tell(node, piece);
    else if (node.data !== piece) node.data = piece;
  });
  while (element.childNodes.length > pieces.length) element.lastChild.remove();
}

// -- asking --------------------------------------------------------------------------------------

const PATIENCE = 10_000;
/** Changes of state are published between ticks too, so a long interval is no reason to wait so long. */
const PERIOD = Math.min(Math.max(interval, 1), 5) * 1_000;

let started = isIndex ? '' : ageText?.dataset.started;
let revision = isIndex ? '' : ageText?.dataset.revision;
let tick = Number(ageText?.dataset.tick);
let asking = false;
let timer;

function ask(path) {
  const url = new URL(body.dataset.base + path, document.baseURI);
  // An address with a password in it, by which one may have come here, is refused by fetch.
  url.username = url.password = '';
  return fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
}

async function refresh() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  let data = null;
  try {
    const path = isIndex ? 'page/rows?' : `page/plugin?${body.dataset.query}&`;
    const answer = await ask(`${path}since=${revision || 0}&started=${started}`);
    if (answer.status === 200) data = await answer.json();
    if (answer.ok) answeredAt = performance.now();
    const isGone = !isIndex && answer.status === 404;
    fault = answer.ok ? null : isGone ? banner.dataset.gone : `${banner.dataset.refused} ${answer.status}.`;
  } catch {
    // No answer, one that is cut off, or something else that answers in the server's place.
    fault = banner.dataset.silent;
  }
  asking = false;
  timer = setTimeout(refresh, PERIOD);
  if (data) {
    const begun = performance.now();
    ({ started, revision, tick, stopped, now } = data);
    heard(data.age);
    if (isIndex) showAll(data);
    else showOne(data);
    body.dataset.patched = (performance.now() - begun).toFixed(1);
  }
  judge();
  if (isIndex) drawLines();
}

// -- how old it is, and whether it can be believed -----------------------------------------------

const banner = $('banner');
let stopped = banner?.dataset.kind === 'stopped';
let fault = null;
let ageThen = Number(ageText?.dataset.age);
let heardAt = performance.now();
/** When the server last said how old its data are, or that these are still the newest. */
let answeredAt = heardAt;

function heard(age) {
  ageThen = age;
  heardAt = answeredAt = performance.now();
}

/** Once a second, and after each answer: the age goes on when nothing else does. */
function judge() {
  const age = ageThen + (performance.now() - heardAt) / 1_000;
  const seconds = Math.floor(age);
  if (tick > 0) {
    const told = seconds < 120 ? `${seconds}\u00a0s`
      : seconds < 7_200 ? `${Math.floor(seconds / 60)}\u00a0min` : `${Math.floor(seconds / 3_600)}\u00a0h`;
    say(ageText, `Data ${told} old`);
  }
  // As of the last answer: while nobody asks, as when the page is not seen, nobody is late.
  const isLate = ageThen + (answeredAt - heardAt) / 1_000 > interval * 3 + 1;
  const kind = fault ? 'silent' : stopped ? 'stopped' : isLate ? 'late' : '';
  const text = fault || (kind && banner.dataset[kind]) || '';
  // It is in the live region: to write what is there already would have it read out again.
  say(banner, text);
  put(banner, 'data-kind', kind);
  banner.hidden = !kind;
  body.classList.toggle('stale', Boolean(kind));
}

// -- the page of all plugins ---------------------------------------------------------------------

const list = $('rows');
/** By name: its row, the places in it, what it last said. */
const rows = new Map();

function adopt(tr) {
  const places = {};
  for (const place of tr.querySelectorAll('[data-f]')) places[place.dataset.f] = place;
  const row = { tr, places, time: tr.querySelector('time'), said: [], place: -1, isSeen: false, drawn: -1 };
  rows.set(tr.dataset.name, row);
  sight.observe(tr);
  return row;
}

function makeRow(name) {
  const tr = $('row').content.firstElementChild.cloneNode(true);
  tr.dataset.name = name;
  const link = tr.querySelector('a');
  link.href = `${body.dataset.base}plugin?name=${encodeURIComponent(name)}`;
  link.title = name;
  list.append(tr);
  return adopt(tr);
}

/** The fields in the order in which the server lists them; four numbers to sort by come after them. */
const FIELDS = ['name', 'status', 'state', 'since', 'cpu', 'p95', 'memory', 'change', 'rate', 'lately',
  'crashes', 'uptime', 'version', 'pid'];
const KEY = { name: 0, urgency: 1, since: 3, crashes: 9, cpu: 14, memory: 15, rate: 16, uptime: 17 };

function patch(row, values) {
  FIELDS.forEach((field, nth) => {
    const value = values[nth];
    // The same moment is told with its date once its day is over.
    if (field === 'since') tell(row.time, value);
    else if (row.said[nth] === value) return;
    else if (field === 'status') {
      put(row.tr, 'data-status', WORDS[value]);
      say(row.places.status, WORDS[value]);
    } else say(row.places[field], String(value));
  });
  row.said = values;
}

function showAll(data) {
  const gone = new Set(rows.keys());
  data.rows.forEach((values, place) => {
    const row = rows.get(values[0]) ?? makeRow(values[0]);
    patch(row, values);
    row.place = place;
    gone.delete(values[0]);
  });
  for (const name of gone) {
    sight.unobserve(rows.get(name).tr);
    rows.get(name).tr.remove();
    rows.delete(name);
  }
  say($('verdict').querySelector('span'), data.verdict.text);
  put($('verdict'), 'data-status', data.verdict.level);
  document.title = `${data.verdict.text.replace(/[.:].*$/, '')} \u2013 plugmeter`;
  showSentences(data.sentences, data.more);
  const totals = $('totals').querySelectorAll('dd');
  data.totals.forEach((text, nth) => say(totals[nth], text));
  $('plugins').hidden = rows.size === 0;
  $('empty').hidden = rows.size > 0;
  $('tools').hidden = rows.size === 0;
  filter();
  arrange(!held());
}

function showSentences(sentences, more) {
  const ul = $('sentences');
  const before = new Map([...ul.children].map((li) => [li.querySelector('bdi').textContent, li]));
  sentences.forEach(({ status, name, pieces }, nth) => {
    const li = before.get(name) ?? $('sentence').content.firstElementChild.cloneNode(true);
    before.delete(name);
    const word = status === 'ok' ? 'note' : status;
    put(li, 'data-status', word);
    say(li.querySelector('.sr'), `${word}: `);
    say(li.querySelector('bdi'), name);
    put(li.querySelector('a'), 'href', `${body.dataset.base}plugin?name=${encodeURIComponent(name)}`);
    narrate(li.querySelector('p > span:last-child'), pieces);
    if (ul.children[nth] !== li && !li.contains(document.activeElement)) ul.insertBefore(li, ul.children[nth] ?? null);
  });
  for (const li of before.values()) li.remove();
  ul.hidden = sentences.length === 0;
  say($('more'), `and ${more} more, at the top of the table`);
  $('more').hidden = more === 0;
}

// -- order and filter ----------------------------------------------------------------------------

let sort = 'urgency';
let isRising = false;
let isPending = false;

/** Whether the head of the table is scrolled away. To ask when rows were written would lay them out. */
let isDeep = false;

/** After a touch, what was touched counts as hovered until something else is: that is no pointer. */
let isTouch = false;

/** Rows do not move under the pointer, under the focus, or while one reads further down. */
function held() {
  return isDeep || (!isTouch && list.matches(':hover')) || list.contains(document.activeElement);
}

function compare({ said: one }, { said: other }) {
  const byName = one[0] < other[0] ? -1 : Number(one[0] > other[0]);
  const byNumber = (key, rises) => {
    const [a, b] = [one[key], other[key]];
    // What is not known comes last, whichever way.
    if (a === null || b === null) return (a === null) - (b === null);
    return rises ? a - b : b - a;
  };
  if (sort === 'name') return isRising ? byName : -byName;
  const then = { urgency: KEY.cpu, crashes: KEY.crashes + 1 }[sort];
  return byNumber(KEY[sort], isRising) || (then && byNumber(then, false)) || byName;
}

function arrange(mayMove) {
  const wanted = [...rows.values()].sort(compare).map((row) => row.tr);
  isPending = wanted.some((tr, nth) => list.children[nth] !== tr);
  if (!isPending || !mayMove) return;
  isPending = false;
  let next = list.firstElementChild;
  for (const tr of wanted) {
    if (tr === next) next = next.nextElementSibling;
    else list.insertBefore(tr, next);
  }
}

function arrangeWhenFree() {
  if (isPending && !held()) arrange(true);
}

function filter() {
  const wanted = $('filter').value.trim().toLowerCase();
  let shown = 0;
  for (const [name, { tr }] of rows) {
    const isShown = name.toLowerCase().includes(wanted);
    if (tr.hidden === isShown) tr.hidden = !isShown;
    shown += isShown;
  }
  say($('shown'), wanted ? `${shown} of ${rows.size} shown` : '');
}

/** What was chosen is in the address: it is still there when one comes back, and can be passed on. */
function remember() {
  const chosen = new URLSearchParams();
  if (sort !== 'urgency' || isRising) chosen.set('sort', `${isRising ? '' : '-'}${sort}`);
  const wanted = $('filter').value;
  if (wanted) chosen.set('filter', wanted);
  const hash = chosen.toString();
  history.replaceState(null, '', hash ? `#${hash}` : location.pathname + location.search);
}

function recall() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  const named = chosen.get('sort') ?? '-urgency';
  const key = named.replace(/^-/, '');
  if (Object.hasOwn(KEY, key)) [sort, isRising] = [key, named === key];
  $('filter').value = chosen.get('filter') ?? '';
  showSort();
}

function showSort() {
  for (const button of document.querySelectorAll('[data-sort]')) {
    const heading = button.parentElement;
    if (button.dataset.sort === sort) put(heading, 'aria-sort', isRising ? 'ascending' : 'descending');
    else heading.removeAttribute('aria-sort');
  }
  $('sort').value = sort;
}

function sortBy(key, canTurn) {
  isRising = canTurn && key === sort ? !isRising : key === 'name';
  sort = key;
  showSort();
  arrange(true);
  remember();
}

// -- small lines, of the rows that are seen ------------------------------------------------------

let isDrawing = false;
let drawTimer;

const sight = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const row = rows.get(target.dataset.name);
    if (row) row.isSeen = isIntersecting;
  }
  // One scrolls past many before one stops.
  clearTimeout(drawTimer);
  drawTimer = setTimeout(drawLines, 120);
}, { rootMargin: '60px' });

async function drawLines() {
  if (isDrawing || document.hidden || fault) return;
  const wanted = [...rows.values()].filter((row) => row.isSeen && row.place >= 0 && row.drawn !== tick);
  if (wanted.length === 0) return;
  isDrawing = true;
  try {
    // More than a window can show are left for the next time.
    const answer = await ask(`page/lines?at=${wanted.slice(0, 128).map((row) => row.place)}`);
    if (answer.status !== 200) return;
    const data = await answer.json();
    for (const [name, lines] of data.lines) {
      const row = rows.get(name);
      if (!row) continue;
      row.drawn = Math.max(data.tick, tick);
      for (const path of row.tr.querySelectorAll('path')) put(path, 'd', lines[path.dataset.l]);
    }
  } catch {
    return; // The next refresh says what is wrong.
  } finally {
    isDrawing = false;
  }
}

// -- the page of one -----------------------------------------------------------------------------

function showOne(data) {
  put($('verdict'), 'data-status', data.level);
  say($('verdict').querySelector('.word'), data.level);
  narrate($('say'), data.pieces);
  const facts = $('totals').querySelectorAll('dd');
  data.facts.forEach((text, nth) => say(facts[nth], text));
  document.querySelectorAll('section.chart').forEach((section, nth) => {
    const chart = data.charts[nth];
    say(section.querySelector('.now'), chart.now);
    say(section.querySelector('.summary'), chart.summary);
    section.querySelectorAll('dd').forEach((dd, at) => say(dd, chart.four[at]));
    section.querySelectorAll('.axis span').forEach((span, at) => say(span, chart.labels[at]));
    section.querySelectorAll('time').forEach((time, at) => tell(time, data.times[at]));
    section.querySelector('.none').hidden = !chart.empty;
    for (const kind of ['area', 'limit', 'line']) put(section.querySelector(`.${kind}`), 'd', chart[kind]);
    put(section.querySelector('.restart'), 'd', chart.restarts);
    put(section.querySelector('.crash'), 'd', chart.crashes);
  });
  const table = $('runs').tBodies[0];
  const before = new Map([...table.rows].map((tr) => [tr.dataset.run, tr]));
  data.runs.forEach((run, nth) => {
    const tr = before.get(String(run.id)) ?? $('run').content.firstElementChild.cloneNode(true);
    before.delete(String(run.id));
    tr.dataset.run = run.id;
    tr.classList.toggle('bad', run.bad);
    const cells = tr.cells;
    say(cells[0].firstElementChild, run.version);
    say(cells[1], String(run.pid));
    tell(cells[2].firstElementChild, run.began);
    if (run.ended !== null) {
      if (cells[3].firstElementChild === null) cells[3].replaceChildren(cells[2].firstElementChild.cloneNode());
      tell(cells[3].firstElementChild, run.ended);
    }
    say(cells[4], run.lasted);
    say(cells[5], run.cpu);
    say(cells[6], run.end);
    if (table.rows[nth] !== tr) table.insertBefore(tr, table.rows[nth] ?? null);
  });
  for (const tr of before.values()) tr.remove();
}

// -- from here on --------------------------------------------------------------------------------

if (body.dataset.page) {
  for (const time of document.querySelectorAll('time')) tell(time, Date.parse(time.dateTime));
  if (isIndex) {
    for (const tr of list.children) adopt(tr);
    recall();
    $('filter').addEventListener('input', () => { filter(); remember(); });
    $('sort').addEventListener('change', (event) => sortBy(event.target.value, false));
    for (const button of document.querySelectorAll('[data-sort]')) {
      button.addEventListener('click', () => sortBy(button.dataset.sort, true));
    }
    list.addEventListener('pointerover', ({ pointerType }) => { isTouch = pointerType === 'touch'; });
    list.addEventListener('pointerleave', arrangeWhenFree);
    list.addEventListener('focusout', () => setTimeout(arrangeWhenFree));
    document.addEventListener('scroll', () => {
      isDeep = $('plugins').getBoundingClientRect().top < -8;
      arrangeWhenFree();
    }, { passive: true });
  }
  document.addEventListener('visibilitychange', refresh);
  setInterval(judge, 1_000);
  refresh();
}
