/* Where the words of a chart go: ticks that a person would write, and labels beside the ends of lines that keep off each
   other. Knows no document. */

/**
 * Round numbers from low to high, about n of them, 1, 2 or 5 times a power of ten apart.
 * @param {number} low
 * @param {number} high
 * @param {number} n
 */
export function roundTicks(low, high, n) {
  if (!(high > low)) return [low];
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * /** @type {number} */ ([1, 2, 5, 10].find((factor) => factor * power >= rough));
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(digits)));
}

/**
 * Places for labels that want to stand at `wanted`: in the same order, at least `gap` apart, within low and high where
 * there is room for all of them, and no further from where they want to be than they must.
 * @param {number[]} wanted
 * @param {number} gap
 * @param {number} low
 * @param {number} high
 */
export function spread(wanted, gap, low, high) {
  const order = wanted.map((_, i) => i).sort((i, j) => wanted[i] - wanted[j] || i - j);
  /** Neighbours that push each other, as one block: its labels, and where the first of them would stand. */
  /** @type {{labels: number[], sum: number}[]} */
  const blocks = [];
  const startOf = (/** @type {{labels: number[], sum: number}} */ { labels, sum }) =>
    Math.max(low, Math.min(sum / labels.length, high - gap * (labels.length - 1)));
  for (const label of order) {
    let block = { labels: [label], sum: wanted[label] };
    while (blocks.length) {
      const before = blocks[blocks.length - 1];
      if (startOf(before) + gap * before.labels.length <= startOf(block)) break;
      blocks.pop();
      const shifted = block.sum - gap * before.labels.length * block.labels.length;
      block = { labels: [...before.labels, ...block.labels], sum: before.sum + shifted };
    }
    blocks.push(block);
  }
  const places = new Array(wanted.length);
  for (const block of blocks) block.labels.forEach((label, i) => (places[label] = startOf(block) + gap * i));
  return places;
}
