// pdf.js as a reader of sealed letters. Arguments: the folder of the peers, a file, a passphrase ('' for none).
// Answers with one line of JSON: what is read, or the name of the error.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [, , peers, file, password] = process.argv;
const { getDocument } = await import(pathToFileURL(`${peers}/js/node_modules/pdfjs-dist/legacy/build/pdf.mjs`));

try {
  const data = new Uint8Array(readFileSync(file));
  const task = getDocument({ data, password: password || undefined, verbosity: 0, isEvalSupported: false });
  const document = await task.promise;
  const answer = { pages: document.numPages, text: '', tree: [], marked: await document.getMarkInfo() };
  const { info, metadata } = await document.getMetadata();
  answer.info = info;
  answer.metadata = metadata !== null;
  for (let number = 1; number <= document.numPages; number += 1) {
    const page = await document.getPage(number);
    const { items } = await page.getTextContent();
    answer.text += items.map((item) => item.str + (item.hasEOL ? '\n' : '')).join('') + '\n';
    answer.tree.push(await page.getStructTree());
  }
  console.log(JSON.stringify(answer));
  await task.destroy();
} catch (error) {
  console.log(JSON.stringify({ error: error.name }));
}
