// What the modules use of Plotly, which a classic script puts on `window`; nothing else is global.

interface PlotlyTrace {
  x: number[];
  y: (number | null)[];
  name?: string;
  hoverinfo?: string;
  visible?: boolean | string;
}

interface PlotlyLayout {
  xaxis: object;
  yaxis: object;
  [name: string]: unknown;
}

interface PlotlyElement extends HTMLElement {
  data?: PlotlyTrace[];
  _fullLayout?: { xaxis?: object };
  on(event: "plotly_hover" | "plotly_unhover", act: (event: { points: { x: number }[] }) => void): void;
}

interface Plotly {
  react(place: PlotlyElement, traces: object[], layout: object, config: object): Promise<void>;
  extendTraces(place: PlotlyElement, more: { x: unknown[][]; y: unknown[][] }, traces: number[]): Promise<void>;
  toImage(place: PlotlyElement, options: object): Promise<string>;
  Fx: { hover(place: PlotlyElement, points: object[], plots: string[]): void; unhover(place: PlotlyElement): void };
}

interface Window {
  Plotly: Plotly;
}

// Of Node, for the tests alone.
declare module "node:assert/strict";
declare module "node:fs";
declare module "node:test";
