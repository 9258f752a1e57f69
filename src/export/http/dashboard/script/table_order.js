// -- order and filter of the table ---------------------------------------------------------------

let sortKey = 'urgency';
let isAscending = false;
let isReorderPending = false;

/** Whether the head of the table is scrolled away. Measured on scrolling only, because measuring
    after rows were written would force a layout. */
let isScrolledDown = false;

/** Whether the last pointer was a touch: the touched element stays hovered until another is touched. */
let isTouch = false;

/** Rows do not move under the pointer, under the focus, or while the page is scrolled down. */
function isReorderBlocked() {
  return isScrolledDown || (!isTouch && tableBody.matches(':hover')) || tableBody.contains(document.activeElement);
}

function compareRows({ values: one }, { values: other }) {
  const byName = one[0] < other[0] ? -1 : Number(one[0] > other[0]);
  const byNumber = (key, ascending) => {
    const [a, b] = [one[key], other[key]];
    // Unknown values come last in both directions.
    if (a === null || b === null) return (a === null) - (b === null);
    return ascending ? a - b : b - a;
  };
  if (sortKey === 'name') return isAscending ? byName : -byName;
  const secondKey = { urgency: SORT_KEYS.cpu, crashes: SORT_KEYS.crashes + 1 }[sortKey];
  return byNumber(SORT_KEYS[sortKey], isAscending) || (secondKey && byNumber(secondKey, false)) || byName;
}

function reorder(isAllowed) {
  const ordered = [...rows.values()].sort(compareRows).map((row) => row.tr);
  isReorderPending = ordered.some((tr, index) => tableBody.children[index] !== tr);
  if (!isReorderPending || !isAllowed) return;
  isReorderPending = false;
  let next = tableBody.firstElementChild;
  for (const tr of ordered) {
    if (tr === next) next = next.nextElementSibling;
    else tableBody.insertBefore(tr, next);
  }
}

function reorderWhenUnblocked() {
  if (isReorderPending && !isReorderBlocked()) reorder(true);
}

function applyFilter() {
  const text = $('filter').value.trim().toLowerCase();
  let shown = 0;
  for (const [name, { tr }] of rows) {
    const isShown = name.toLowerCase().includes(text);
    if (tr.hidden === isShown) tr.hidden = !isShown;
    shown += isShown;
  }
  setText($('shown'), text ? `${shown} of ${rows.size} shown` : '');
}

/** Stores order and filter in the address, so that they can be shared and are restored on return. */
function saveChoices() {
  const choices = new URLSearchParams();
  if (sortKey !== 'urgency' || isAscending) choices.set('sort', `${isAscending ? '' : '-'}${sortKey}`);
  const text = $('filter').value;
  if (text) choices.set('filter', text);
  const hash = choices.toString();
  history.replaceState(null, '', hash ? `#${hash}` : location.pathname + location.search);
}

function restoreChoices() {
  const choices = new URLSearchParams(location.hash.slice(1));
  const sort = choices.get('sort') ?? '-urgency';
  const key = sort.replace(/^-/, '');
  if (Object.hasOwn(SORT_KEYS, key)) [sortKey, isAscending] = [key, sort === key];
  $('filter').value = choices.get('filter') ?? '';
  showSort();
}

function showSort() {
  for (const button of document.querySelectorAll('[data-sort]')) {
    const heading = button.parentElement;
    if (button.dataset.sort === sortKey) setAttr(heading, 'aria-sort', isAscending ? 'ascending' : 'descending');
    else heading.removeAttribute('aria-sort');
  }
  $('sort').value = sortKey;
}

function sortBy(key, canReverse) {
  isAscending = canReverse && key === sortKey ? !isAscending : key === 'name';
  sortKey = key;
  showSort();
  reorder(true);
  saveChoices();
}

