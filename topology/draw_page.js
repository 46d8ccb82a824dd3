// SPDX-License-Identifier: Apache-2.0
// Makes the page of a drawing answer to pointer and keyboard. All data is in the page itself: a
// drawn box or line names its entries in the lists below. Text goes in as text, never as markup.
'use strict';
(() => {
const one = id => document.getElementById(id);
const svg = one('drawing'), view = one('view'), tip = one('tip');
const whole = svg.viewBox.baseVal;
const full = {x: whole.x, y: whole.y, w: whole.width, h: whole.height};
let shown = {...full};

// ---- tips: what is known about a box or a line, and from where ----

function make(name, text, parent, className) {
    const element = document.createElement(name);
    element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
}

function tellBox(box) {
    const node = one('n' + box.dataset.n), count = Number(box.dataset.count || 1);
    make('b', box.dataset.node, tip);
    if (count > 1)
        make('p', `and ${count - 1} more` + ('mixed' in box.dataset ? ', not all alike'
            : box.classList.contains('s-tag') ? ' links from here' : ' that look like it'), tip, 'dim');
    const table = node && node.querySelector(':scope > table');
    make('p', node ? node.dataset.kind : 'not in the list below', tip, 'dim');
    if (table) tip.append(table.cloneNode(true));
}

function tellLine(line) {
    const links = line.dataset.links.split(' '), count = Number(line.dataset.count || links.length);
    if (count > 1) make('b', `${count} links`, tip);
    for (const id of links.slice(0, 8)) {
        const row = one('l' + id);
        if (!row) continue;
        const [kind, from, to, lanes, ports, figures] = [...row.cells].map(cell => cell.textContent);
        make('p', `${kind}: ${from} ${row.dataset.way || '–'} ${to}`, tip);
        make('p', [lanes > 1 ? `${lanes} lanes` : '', ports ? `ports ${ports}` : '', figures]
            .filter(text => text).join('; '), tip, 'dim');
    }
    if (count > 8) make('p', `and ${count - 8} more`, tip, 'dim');
}

function tell(target, x, y) {
    tip.replaceChildren();
    (target.classList.contains('l') ? tellLine : tellBox)(target);
    tip.hidden = false;
    const {width, height} = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - width - 8)) + 'px';
    tip.style.top = Math.max(4, y + 18 + height > innerHeight ? y - height - 12 : y + 18) + 'px';
}

const thing = event => event.target.closest && event.target.closest('.b, .l');
svg.addEventListener('pointermove', event => {
    const target = thing(event);
    if (target && !drag) tell(target, event.clientX, event.clientY);
    else tip.hidden = true;
});
svg.addEventListener('pointerleave', () => { tip.hidden = true; });
svg.addEventListener('focusin', event => {
    const target = thing(event);
    if (!target || !target.matches(':focus-visible')) return;
    const place = target.getBoundingClientRect();
    tell(target, place.left + place.width / 2, place.bottom);
});
svg.addEventListener('focusout', () => { tip.hidden = true; });

// ---- light: what is meant stands out, the rest steps back ----

function light(ids) {
    const boxes = new Set(ids);
    svg.classList.toggle('dim', boxes.size > 0);
    for (const element of svg.querySelectorAll('.lit')) element.classList.remove('lit');
    const around = new Set(boxes);
    for (const line of svg.querySelectorAll('.l[data-from]')) {
        const from = boxes.has(line.dataset.from), to = boxes.has(line.dataset.to);
        if (boxes.size === 1 ? from || to : from && to) {
            line.classList.add('lit');
            around.add(line.dataset.from).add(line.dataset.to);
        }
    }
    for (const id of around) one(id)?.classList.add('lit');
}

const boxesOf = element => (element.dataset.boxes || '').split(' ').filter(id => id);
svg.addEventListener('click', event => {
    const target = thing(event);
    if (moved) return;
    if (!target) light([]);
    else light(target.id ? [target.id] : [target.dataset.from, target.dataset.to]);
});
for (const button of document.querySelectorAll('button[data-boxes]'))
    button.addEventListener('click', () => light(boxesOf(button)));

// ---- search ----

const nodes = [...document.querySelectorAll('#nodes [data-node]')];
function go(node) {
    light(boxesOf(node));
    const box = one(boxesOf(node)[0] || '');
    if (!box) return;
    const {x, y, width, height} = box.getBBox();
    show({...shown, x: x + width / 2 - shown.w / 2, y: y + height / 2 - shown.h / 2});
    tell(box, view.getBoundingClientRect().left + 20, view.getBoundingClientRect().top + 20);
}
one('search').addEventListener('input', event => {
    const wanted = event.target.value.trim().toLowerCase(), hits = one('hits');
    hits.replaceChildren();
    tip.hidden = true;
    if (!wanted) { light([]); return; }
    const found = nodes.filter(node => node.dataset.node.toLowerCase().includes(wanted));
    light(found.slice(0, 2000).flatMap(boxesOf));
    make('li', `${found.length} found`, hits);
    for (const node of found.slice(0, 12))
        make('button', node.dataset.node, make('li', '', hits)).addEventListener('click', () => go(node));
});

// ---- zoom and pan ----

function show(next) {
    shown = next;
    svg.setAttribute('viewBox', `${shown.x} ${shown.y} ${shown.w} ${shown.h}`);
}
function zoom(factor, x, y) { // about a point of the window
    const area = svg.getBoundingClientRect(), w = shown.w * factor;
    if (w > full.w * 8 || w < 40) return;
    const at = new DOMPoint(x ?? area.left + area.width / 2, y ?? area.top + area.height / 2)
        .matrixTransform(svg.getScreenCTM().inverse());
    show({x: at.x - (at.x - shown.x) * factor, y: at.y - (at.y - shown.y) * factor, w, h: shown.h * factor});
}
const fit = () => show({...full});
let drag = null, moved = false;
svg.addEventListener('wheel', event => {
    event.preventDefault();
    zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 300), event.clientX, event.clientY);
}, {passive: false});
svg.addEventListener('pointerdown', event => {
    moved = false;
    if (event.button === 0 && event.target.tagName !== 'text')
        drag = {x: event.clientX, y: event.clientY, from: shown, scale: 1 / svg.getScreenCTM().a};
});
addEventListener('pointermove', event => {
    if (!drag) return;
    const x = event.clientX - drag.x, y = event.clientY - drag.y;
    if (Math.abs(x) + Math.abs(y) > 4) moved = true;
    if (moved) show({...drag.from, x: drag.from.x - x * drag.scale, y: drag.from.y - y * drag.scale});
});
addEventListener('pointerup', () => { drag = null; });
one('in').addEventListener('click', () => zoom(0.75));
one('out').addEventListener('click', () => zoom(1 / 0.75));
one('fit').addEventListener('click', fit);
addEventListener('keydown', event => {
    if (event.key === 'Escape') { light([]); tip.hidden = true; return; }
    if (event.target.tagName === 'INPUT' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '+') zoom(0.75);
    else if (event.key === '-') zoom(1 / 0.75);
    else if (event.key === '0') fit();
    else if (event.key === '/') { event.preventDefault(); one('search').focus(); }
});
})();
