// Plays what the page's JSON says of a film: paths that grow, and readings beside them.
const film = JSON.parse(document.getElementById('film').textContent);
const get = id => document.getElementById(id);
const add = (parent, name, attributes) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return parent.appendChild(e);
};
// The best comes first in the film and is drawn last, on top.
const shown = film.tracks.slice().reverse().map(t => ({
  ...t,
  rim: add(get('paths'), 'polyline', {stroke: '#fff', 'stroke-opacity': .9, 'stroke-width': t.width + 2.2}),
  line: add(get('paths'), 'polyline', {stroke: t.colour, 'stroke-width': t.width}),
  head: add(get('heads'), 'circle', {fill: t.colour, r: t.name ? 6.2 : 4}),
  word: t.name ? add(get('words'), 'text', {x: film.edge, y: t.row}) : null,
}));
const scrubber = get('step'), button = get('play');
let timer = 0;
const show = step => {
  for (const t of shown) {
    const points = t.points.slice(0, step + 1).join(' ');
    t.rim.setAttribute('points', points);
    t.line.setAttribute('points', points);
    t.head.setAttribute('cx', t.points[step][0]);
    t.head.setAttribute('cy', t.points[step][1]);
    if (t.word) t.word.textContent = t.readings[step];
  }
  scrubber.value = step;
  get('clock').textContent = get('now').textContent = 'step ' + step;
};
const stop = () => { clearInterval(timer); timer = 0; button.textContent = 'Play'; };
const play = () => {
  if (+scrubber.value === film.steps) show(0);
  button.textContent = 'Pause';
  timer = setInterval(() => {
    show(+scrubber.value + 1);
    if (+scrubber.value === film.steps) stop();
  }, 1000 / film.fps);
};
button.onclick = () => timer ? stop() : play();
scrubber.oninput = () => { stop(); show(+scrubber.value); };
show(film.steps);
if (!matchMedia('(prefers-reduced-motion: reduce)').matches) play();
