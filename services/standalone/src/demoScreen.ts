/** What the demo writes to the terminal: plain lines, and one progress bar that redraws itself where it can. */

export function title(text: string): void {
  console.log(`\n${isTty ? "\u001b[1m" : ""}== ${text}${isTty ? "\u001b[0m" : ""}`);
}

export function say(text: string): void {
  console.log(`   ${text}`);
}

export function ms(milliseconds: number): string {
  return milliseconds < 10_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(1)} s`;
}

const isTty = process.stdout.isTTY === true;
const width = 40;
let lastTenth = -1;

/** Draws how many of how many are done; without a terminal a line for each tenth. */
export function progress(done: number, total: number, elapsedMs: number): void {
  const filled = Math.round((width * done) / total);
  const rate = `${Math.round((done * 1_000) / elapsedMs)} jobs/s`;
  const line = `[${"#".repeat(filled)}${"-".repeat(width - filled)}] ${done}/${total}  ${rate}`;
  const tenth = Math.floor((10 * done) / total);
  if (isTty) process.stdout.write(`\r   ${line}${done === total ? "\n" : ""}`);
  else if (tenth !== lastTenth) say(line);
  lastTenth = tenth;
}
