'use strict';
// Updates the page with data of the server, which formats all texts and SVG paths. This script puts
// them into the page, orders the rows, and decides when to fetch.

const body = document.body;
const $ = (id) => document.getElementById(id);
const part = (element, selector) => element.querySelector(selector);
const isIndex = body.dataset.page === 'index';
const STATUSES = ['ok', 'warning', 'error'];
const ageText = $('age');
const interval = Number(ageText?.dataset.interval);

// -- texts and times -----------------------------------------------------------------------------

/** Writes only changes, so that a selection stays and no unnecessary layout is computed. */
function setText(element, text) {
  const node = element.firstChild;
  if (!node) element.textContent = text;
  else if (node.data !== text) node.data = text;
}

/** Writes only changes. */
function setAttr(element, attribute, value) {
  if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
}

/** The time of the newest tick. Times of another day are shown with their date. */
let now = Date.now();

/** Shows a time in the browser's time zone; the title has it in UTC. */
function renderTime(element, millis) {
  const twoDigits = (number) => String(number).padStart(2, '0');
  const at = new Date(millis);
  let text = `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}`;
  if ('exact' in element.dataset) text += `:${twoDigits(at.getSeconds())}`;
  if (at.toDateString() !== new Date(now).toDateString()) {
    text = `${twoDigits(at.getMonth() + 1)}-${twoDigits(at.getDate())} ${text}`;
  }
  setText(element, text);
  const iso = at.toISOString();
  if (element.dateTime !== iso) {
    element.dateTime = iso;
    element.title = `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
  }
}

/** Shows a sentence: an array of texts, and of times as numbers. */
function renderSegments(element, segments) {
  segments.forEach((segment, index) => {
    const isTime = typeof segment === 'number';
    let node = element.childNodes[index];
    if (node?.nodeName !== (isTime ? 'TIME' : '#text')) {
      const created = isTime ? document.createElement('time') : document.createTextNode('');
      if (node) node.replaceWith(created);
      else element.append(created);
      node = created;
    }
    if (isTime) renderTime(node, segment);
    else if (node.data !== segment) node.data = segment;
  });
  while (element.childNodes.length > segments.length) element.lastChild.remove();
}


/** Makes the list's elements those of the items, with copies of the template. */
function fillList(list, template, items, update) {
  while (list.children.length > items.length) list.lastElementChild.remove();
  items.forEach((item, index) => {
    update(list.children[index]
      ?? list.appendChild($(template).content.firstElementChild.cloneNode(true)), item);
  });
}
