// Where the page begins: joins the stream of updates to the model, and the model to what is shown; says how it stands with
// the runtime.
import { connectionsTable } from './connections-table.js';
import { find, setAttribute, setText } from './dom.js';
import { cut, duration, plural } from './format.js';
import { Model, trouble } from './model.js';
import { Overview } from './overview.js';
import { servicesTable } from './services-table.js';
import { Stream, type Link } from './stream.js';

/** Of the node id, what tells two apart. */
const NODE_ID_CHARS = 8;

const model = new Model();
const overview = new Overview();
const services = servicesTable();
const connections = connectionsTable();
/** When the update that is shown came, by the clock on the wall. */
let shownAt: Date | undefined;

function showAll(): void {
  shownAt = new Date();
  overview.update(model);
  services.update(model.services);
  connections.update(model.connections);
  const { head } = model;
  if (head === undefined) return;
  setText(find('name'), cut(head.name));
  const node = head.nodeId === undefined ? [] : [`node ${head.nodeId.slice(0, NODE_ID_CHARS)}`];
  setText(find('identity'), [cut(head.prefix), ...node, `up ${duration(head.uptimeMs)}`].join(' · '));
}

/** The word beside the name, and the sentence below it if there is something to say. */
function describe(link: Link): { word: string; sentence?: string } {
  switch (link.kind) {
    case 'connecting':
      return { word: 'Connecting' };
    case 'live':
      return { word: 'Live' };
    case 'hidden':
      return { word: 'Paused' };
    case 'silent':
      return {
        word: 'No answer',
        sentence: 'The runtime says nothing. Its process may be stopped, or too busy to answer.',
      };
    case 'problem':
      return { word: 'Problem', sentence: `The runtime cannot say how it is: ${cut(link.sentence)}` };
    case 'lost':
      return {
        word: 'Connection lost',
        sentence: link.full
          ? 'As many look at this page as the runtime allows. This one joins when there is a place again.'
          : 'The connection to the runtime is lost. This page tries again by itself.',
      };
  }
}

function showLink(link: Link): void {
  const { word, sentence } = describe(link);
  const stale = sentence !== undefined && shownAt !== undefined;
  const note = stale ? ` What you see is from ${shownAt?.toLocaleTimeString() ?? ''}.` : '';
  setText(find('link'), word);
  setAttribute(find('link'), 'data-kind', link.kind);
  find('banner').hidden = sentence === undefined;
  setText(find('banner-text'), `${sentence ?? ''}${note}`);
  find('retry').hidden = link.kind !== 'lost';
  document.body.classList.toggle('stale', stale);
  showTitle(link, word);
}

/** What can be read in a tab: the name, and what is wrong. */
function showTitle(link: Link, word: string): void {
  let problems = 0;
  for (const entry of model.services.values()) if (trouble(entry) !== undefined) problems++;
  const name = model.head === undefined ? 'splitplane monitor' : cut(model.head.name);
  const calm = link.kind === 'live' || link.kind === 'hidden' || link.kind === 'connecting';
  const what = calm ? (problems > 0 ? [plural(problems, 'problem')] : []) : [word.toLowerCase()];
  document.title = [...what, name].join(' – ');
}

const stream = new Stream({
  begin: (head) => model.begin(head),
  part: (part) => model.part(part),
  end: () => {
    model.end();
    showAll();
  },
  link: showLink,
});
find('retry').addEventListener('click', () => stream.retryNow());
