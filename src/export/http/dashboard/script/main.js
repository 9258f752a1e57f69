// -- start ---------------------------------------------------------------------------------------

if (body.dataset.page) {
  for (const time of document.querySelectorAll('time')) renderTime(time, Date.parse(time.dateTime));
  if (isIndex) {
    for (const tr of tableBody.children) attachRow(tr);
    restoreChoices();
    $('filter').addEventListener('input', () => { applyFilter(); saveChoices(); });
    $('timeline-filter').addEventListener('input', filterTimeline);
    $('sort').addEventListener('change', (event) => sortBy(event.target.value, false));
    for (const button of document.querySelectorAll('[data-sort]')) {
      button.addEventListener('click', () => sortBy(button.dataset.sort, true));
    }
    tableBody.addEventListener('pointerover', ({ pointerType }) => { isTouch = pointerType === 'touch'; });
    tableBody.addEventListener('pointerleave', reorderWhenUnblocked);
    tableBody.addEventListener('focusout', () => setTimeout(reorderWhenUnblocked));
    document.addEventListener('scroll', () => {
      isScrolledDown = $('plugins').getBoundingClientRect().top < -8;
      reorderWhenUnblocked();
    }, { passive: true });
  }
  if (!isIndex) {
    svgs.forEach(followPointer);
    addEventListener('popstate', showRange);
    $('zoom-out').addEventListener('click', (event) => {
      event.preventDefault();
      zoom();
    });
    $('data').addEventListener('toggle', () => { if (newestData) updateData(newestData); });
  }
  document.addEventListener('visibilitychange', () => { refresh(); followEvents(); });
  setInterval(updateStaleness, 1_000);
  refresh();
  followEvents();
}
