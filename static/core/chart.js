// A chart of the last minutes, with its newest figures as text.
import { texts } from '../texts.js';
import { html, loadScript, loadStyle, useEffect, useRef, useState } from './view.js';

const HEIGHT = 150;
const WIDTHS = [2, 1.5, 1.5];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(width, series, ceiling) {
  const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui' };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 4, 0, 0],
    scales: { y: { range: (_, low, high) => [0, ceiling ?? Math.max(4, high * 1.15)] } },
    axes: [
      { ...axis, space: 70, size: 26, values: (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString('en-GB')) },
      { ...axis, size: 40, incrs: [1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
    ],
    series: [{}, ...series.map((_, index) => ({
      stroke: colour(`--chart-${index + 1}`), width: WIDTHS[index], points: { show: false },
      fill: index === 0 ? colour('--chart-fill') : undefined,
    }))],
  };
}

export function Chart({ title, samples, series, ceiling }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [ready, setReady] = useState(false);
  const [scheme, setScheme] = useState(0);
  useEffect(() => {
    Promise.all([loadScript('../vendor/uplot.js'), loadStyle('../vendor/uplot.css')]).then(() => setReady(true), () => {});
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const turn = () => setScheme((count) => count + 1);
    dark.addEventListener('change', turn);
    return () => dark.removeEventListener('change', turn);
  }, []);
  const data = () => [samples.time, ...series.map(({ name }) => samples[name])].map((values) => [...values]);
  useEffect(() => {
    if (!ready) return undefined;
    const { uPlot } = window;
    const made = new uPlot(options(place.current.clientWidth, series, ceiling), data(), place.current);
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: place.current?.clientWidth ?? 300, height: HEIGHT }));
    resized.observe(place.current);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [ready, scheme]);
  const length = samples.time.length ? samples.time.at(-1) : 0;
  useEffect(() => {
    plot.current?.setData(data());
  }, [length]);
  const now = series.map(({ label, now: figure }) => `${label} ${figure}`).join(', ');
  return html`
    <div class="chart">
      <ul class="legend">${series.map(({ label, now: figure }, index) => html`
        <li key=${label}><span class=${`swatch c${index + 1}`} aria-hidden="true"></span>${label} <strong>${figure}</strong></li>`)}
      </ul>
      <div class="plot" ref=${place} role="img" aria-label=${texts.overview.chart(title, now)}></div>
    </div>`;
}
