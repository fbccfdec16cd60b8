// The page's script: what lies under the pointer, or under a finger, is told in words. Without it the page is complete, and
// the data stand below each figure.

/* global document, window */

const tip = document.getElementById('tip');
const MARGIN = 14;

function show(area, x, y) {
  const { title, lines } = JSON.parse(area.dataset.tip);
  const heading = document.createElement('b');
  heading.textContent = title;
  const entries = lines.map(({ label, value, color, isOurs }) => {
    const line = document.createElement('div');
    line.className = isOurs ? 'ours' : '';
    const name = document.createElement('span');
    name.textContent = label;
    name.style.color = color;
    const figure = document.createElement('span');
    figure.textContent = value;
    line.append(name, figure);
    return line;
  });
  tip.replaceChildren(heading, ...entries);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  // Beside the pointer, on the side where there is room.
  const left = x + MARGIN + width > window.innerWidth ? x - MARGIN - width : x + MARGIN;
  const top = y + MARGIN + height > window.innerHeight ? y - MARGIN - height : y + MARGIN;
  tip.style.left = `${Math.max(8, Math.min(left, window.innerWidth - width - 8))}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

let current;

function point(event) {
  const area = event.target instanceof window.Element ? event.target.closest('.hit') : null;
  if (area !== current) {
    current?.classList.remove('on');
    area?.classList.add('on');
    current = area;
  }
  if (area === null) tip.hidden = true;
  else show(area, event.clientX, event.clientY);
}

// The browser would show its own words as well.
for (const title of document.querySelectorAll('.hit > title')) title.remove();
document.addEventListener('pointermove', point);
document.addEventListener('pointerdown', point);
document.addEventListener(
  'scroll',
  () => {
    tip.hidden = true;
  },
  { passive: true },
);
