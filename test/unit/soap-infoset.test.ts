// Proves what elements answer about themselves, and that namespace scopes resolve by the innermost declaration.

import { describe, expect, test } from 'vitest';
import { attribute, element, XmlElement } from '../../lib/soap/infoset.js';
import { NamespaceScope, XML } from '../../lib/soap/namespaces.js';

const NS = 'urn:example:a';

describe('XmlElement', () => {
  const child = element(NS, 'Child', 'one');
  const parent = element(NS, 'Parent', ['a', child, 'b', element('', 'Child', 'two')], {
    attributes: { size: '3' },
    qualifiedAttributes: [attribute('size', '4', NS)],
  });

  test('joins the text directly inside and leaves out that of children', () => {
    expect(parent.text()).toBe('ab');
    expect(child.text()).toBe('one');
    expect(element(NS, 'Empty').text()).toBe('');
  });

  test('finds children and attributes by namespace and name, never by name alone', () => {
    expect(parent.child(NS, 'Child')).toBe(child);
    expect(parent.child('', 'Child')?.text()).toBe('two');
    expect(parent.child('urn:example:b', 'Child')).toBeUndefined();
    expect(parent.attribute('size')).toBe('3');
    expect(parent.attribute('size', NS)).toBe('4');
    expect(parent.attribute('size', 'urn:example:b')).toBeUndefined();
    expect(parent.elements()).toHaveLength(2);
  });

  test('resolves names in text by its own declarations', () => {
    const scoped = element(NS, 'Value', 'p:Name', { namespaces: { p: NS } });
    expect(scoped.resolveQName(' p:Name\n')).toEqual({ namespace: NS, localName: 'Name' });
    expect(scoped.resolveQName('Name')).toEqual({ namespace: '', localName: 'Name' });
    expect(scoped.resolveQName('q:Name')).toBeUndefined();
    expect(scoped.resolveQName(':Name')).toBeUndefined();
    expect(scoped.resolveQName('p:')).toBeUndefined();
    expect(new XmlElement(NS, 'Value').resolveQName('xml:lang')).toEqual({
      namespace: XML,
      localName: 'lang',
    });
  });
});

describe('NamespaceScope', () => {
  test('the innermost declaration of a prefix hides the outer one, also when looking for a prefix', () => {
    const outer = new NamespaceScope(undefined, 'p', 'urn:example:outer');
    const inner = new NamespaceScope(outer, 'p', 'urn:example:inner');
    expect(inner.resolve('p')).toBe('urn:example:inner');
    expect(outer.resolve('p')).toBe('urn:example:outer');
    expect(inner.prefixFor('urn:example:inner')).toBe('p');
    expect(inner.prefixFor('urn:example:outer')).toBeUndefined();
    expect(inner.count).toBe(2);
  });

  test('an unbound default namespace is none, an unbound prefix is an error of the caller', () => {
    const scope = new NamespaceScope(undefined, 'p', NS);
    expect(scope.resolve('')).toBe('');
    expect(scope.resolve('q')).toBeUndefined();
    expect(scope.resolve('xml')).toBe(XML);
  });
});
