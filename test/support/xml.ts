// XML text as elements by the shortest way through saxes: a reader that shares no code with the serializer it looks over.
import { SaxesParser } from 'saxes';
import { XmlElement } from '../../lib/index.js';
import type { XmlNode } from '../../lib/soap/infoset.js';

/** The root element. Throws for what is not well-formed. */
export function readXml(text: string): XmlElement {
  const parser = new SaxesParser({ xmlns: true });
  const open: XmlNode[][] = [[]];
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', () => open.push([]));
  parser.on('text', (characters) => open.at(-1)?.push(characters));
  parser.on('closetag', ({ uri, local, attributes }) => {
    const children = open.pop();
    const plain = Object.values(attributes).map(({ uri: namespace, local: localName, value, prefix }) => ({
      namespace,
      localName,
      value,
      prefix,
    }));
    open.at(-1)?.push(new XmlElement(uri, local, children, plain));
  });
  parser.write(text).close();
  return open[0]?.find((node) => node instanceof XmlElement) as XmlElement;
}
