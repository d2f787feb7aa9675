// Makes the pages of a tunnel nicer where there is JavaScript: buttons that copy, and what happens as it
// happens. All words come from the server.

const HELD = 120;
const RETRY_TEXT = 2000;

for (const block of document.querySelectorAll('[data-copy]')) {
  const source = block.querySelector('code, .code');
  const { copyText, copiedText } = block.dataset;
  if (!source || !copyText || !navigator.clipboard) continue;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.textContent = copyText;
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = copiedText;
    setTimeout(() => {
      button.textContent = copyText;
    }, RETRY_TEXT);
  });
  block.append(button);
}

const page = document.querySelector('[data-events]');
if (page) follow(page);

function follow(root) {
  const put = (name, text) => {
    for (const element of root.querySelectorAll(`[data-live="${name}"]`))
      element.textContent = text;
  };
  const unknown = root.querySelector('[data-unknown]');
  const graph = root.querySelector('[data-graph]');
  const points = [];
  const events = new EventSource(root.dataset.events);
  events.addEventListener('look', ({ data }) => {
    const { stateText, diagnosis } = JSON.parse(data);
    put('state', stateText);
    // Escaped by the server, from whose own words it is made.
    if (diagnosis) root.querySelector('[data-live="diagnosis"]').innerHTML = diagnosis;
  });
  events.addEventListener('counters', ({ data }) => {
    const { known, texts, from, to } = JSON.parse(data);
    if (unknown) unknown.hidden = known;
    if (graph) graph.hidden = !known;
    if (!known) return;
    for (const [name, text] of Object.entries(texts)) put(name, text);
    points.push({ from, to });
    if (points.length > HELD) points.shift();
    draw(graph, points);
  });
  events.addEventListener('error', () => {
    if (unknown) unknown.hidden = false;
  });
}

function draw(graph, points) {
  if (!graph) return;
  const most = Math.max(1, ...points.flatMap(({ from, to }) => [from, to]));
  const step = 720 / HELD;
  for (const [name, sign] of [
    ['to', -1],
    ['from', 1],
  ]) {
    const x = (i) => ((HELD - points.length + i) * step).toFixed(1);
    const tops = points.map(
      (point, i) => `L${x(i)} ${(60 + (sign * point[name] * 56) / most).toFixed(1)}`,
    );
    const d = points.length > 0 ? `M${x(0)} 60${tops.join('')}L${x(points.length - 1)} 60z` : '';
    graph.querySelector(`[data-line="${name}"]`).setAttribute('d', d);
  }
}
