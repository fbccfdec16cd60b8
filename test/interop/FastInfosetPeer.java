// The other side of fastinfoset-java.test.ts: Fast Infoset as libfastinfoset-java reads and writes it. Works through a folder once:
// every NAME.fi is read and told as canonical text in NAME.fi.txt; every NAME.xml is written as Fast Infoset in several ways, as
// NAME.WAY.made. Knows of the vocabulary only what stands in vocabulary.txt. Run as a source file, without being compiled before.

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import javax.xml.namespace.QName;
import javax.xml.parsers.SAXParserFactory;

import com.sun.xml.fastinfoset.sax.SAXDocumentParser;
import com.sun.xml.fastinfoset.sax.SAXDocumentSerializer;
import org.jvnet.fastinfoset.ExternalVocabulary;
import org.jvnet.fastinfoset.FastInfosetSerializer;
import org.jvnet.fastinfoset.Vocabulary;
import org.xml.sax.Attributes;
import org.xml.sax.InputSource;
import org.xml.sax.XMLReader;
import org.xml.sax.helpers.AttributesImpl;
import org.xml.sax.helpers.DefaultHandler;

public class FastInfosetPeer {
  static final String SOAP = "http://www.w3.org/2003/05/soap-envelope";
  static final String WSA = "http://www.w3.org/2005/08/addressing";

  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments[0]);
    ExternalVocabulary vocabulary = readVocabulary(folder.resolve("vocabulary.txt"));
    List<Path> files = new ArrayList<>();
    try (var stream = Files.list(folder)) {
      stream.forEach(files::add);
    }
    for (Path file : files) {
      if (file.toString().endsWith(".fi")) {
        Files.writeString(Path.of(file + ".txt"), tell(Files.readAllBytes(file), vocabulary));
      } else if (file.toString().endsWith(".xml")) {
        for (Way way : Way.values()) {
          Files.write(Path.of(file + "." + way + ".made"), write(file, way, vocabulary));
        }
      }
    }
    byte[] algorithms = writeAlgorithms();
    Files.write(folder.resolve("algorithms.made"), algorithms);
    Files.writeString(folder.resolve("algorithms.txt"), tell(algorithms, vocabulary));
  }

  enum Way { plain, vocabulary, utf16, indexed }

  /** The tables, one entry a line: the table's name, and the entry's parts behind tabs. */
  static ExternalVocabulary readVocabulary(Path file) throws Exception {
    List<String> lines = Files.readAllLines(file);
    Vocabulary tables = new Vocabulary();
    for (String line : lines.subList(1, lines.size())) {
      String[] parts = line.split("\t", -1);
      switch (parts[0]) {
        case "prefix" -> tables.prefixes.add(parts[1]);
        case "namespace" -> tables.namespaceNames.add(parts[1]);
        case "localName" -> tables.localNames.add(parts[1]);
        case "value" -> tables.attributeValues.add(parts[1]);
        case "chunk" -> tables.characterContentChunks.add(parts[1]);
        case "element" -> tables.elements.add(new QName(parts[2], parts[3], parts[1]));
        case "attribute" -> tables.attributes.add(new QName(parts[2], parts[3], parts[1]));
        default -> throw new IllegalArgumentException(line);
      }
    }
    return new ExternalVocabulary(lines.get(0), tables);
  }

  static byte[] write(Path file, Way way, ExternalVocabulary vocabulary) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    SAXDocumentSerializer serializer = new SAXDocumentSerializer();
    serializer.setOutputStream(bytes);
    if (way == Way.vocabulary) serializer.setExternalVocabulary(vocabulary);
    if (way == Way.utf16) serializer.setCharacterEncodingScheme(FastInfosetSerializer.UTF_16BE);
    if (way == Way.indexed) {
      serializer.setMinCharacterContentChunkSize(0);
      serializer.setMaxCharacterContentChunkSize(10_000);
      serializer.setMinAttributeValueSize(0);
      serializer.setMaxAttributeValueSize(10_000);
    }
    SAXParserFactory factory = SAXParserFactory.newInstance();
    factory.setNamespaceAware(true);
    XMLReader reader = factory.newSAXParser().getXMLReader();
    reader.setContentHandler(serializer);
    reader.setProperty("http://xml.org/sax/properties/lexical-handler", serializer);
    try (InputStream input = Files.newInputStream(file)) {
      reader.parse(new InputSource(input));
    }
    return bytes.toByteArray();
  }

  /** A message whose body has one element for each encoding algorithm and restricted alphabet. */
  static byte[] writeAlgorithms() throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    SAXDocumentSerializer out = new SAXDocumentSerializer();
    out.setOutputStream(bytes);
    Attributes none = new AttributesImpl();
    out.startDocument();
    out.startPrefixMapping("s", SOAP);
    out.startPrefixMapping("wsa", WSA);
    out.startElement(SOAP, "Envelope", "s:Envelope", none);
    out.startElement(SOAP, "Header", "s:Header", none);
    out.startElement(WSA, "Action", "wsa:Action", none);
    out.characters("urn:act".toCharArray(), 0, 7);
    out.endElement(WSA, "Action", "wsa:Action");
    out.endElement(SOAP, "Header", "s:Header");
    out.startElement(SOAP, "Body", "s:Body", none);
    byte[] octets = new byte[300];
    for (int i = 0; i < octets.length; i++) octets[i] = (byte) (i * 7);
    inside(out, "bytes", () -> out.bytes(octets, 0, octets.length));
    inside(out, "byte", () -> out.bytes(octets, 1, 1));
    inside(out, "shorts", () -> out.shorts(new short[] {0, -1, Short.MIN_VALUE, 12345}, 0, 4));
    inside(out, "ints", () -> out.ints(new int[] {0, -1, Integer.MIN_VALUE, 123456789}, 0, 4));
    inside(out, "longs", () -> out.longs(new long[] {0, -1, Long.MIN_VALUE, Long.MAX_VALUE}, 0, 4));
    inside(out, "booleans", () -> out.booleans(new boolean[] {true, false, false, true, true}, 0, 5));
    inside(out, "boolean", () -> out.booleans(new boolean[] {true}, 0, 1));
    inside(out, "floats", () -> out.floats(new float[] {1.5f, -0.1f, 123.456f}, 0, 3));
    inside(out, "doubles", () -> out.doubles(new double[] {1.5, -0.1, 123456.789}, 0, 3));
    inside(out, "uuids", () -> out.uuids(new long[] {0x0123456789abcdefL, 0xfedcba9876543210L}, 0, 2));
    inside(out, "numeric", () -> out.numericCharacters("-12.5E+3 7".toCharArray(), 0, 10));
    inside(out, "odd", () -> out.numericCharacters("123".toCharArray(), 0, 3));
    inside(out, "dates", () -> out.dateTimeCharacters("2024-02-29T12:00:00Z".toCharArray(), 0, 20));
    inside(out, "cdata", () -> {
      out.startCDATA();
      out.characters("<&>".toCharArray(), 0, 3);
      out.endCDATA();
    });
    out.endElement(SOAP, "Body", "s:Body");
    out.endElement(SOAP, "Envelope", "s:Envelope");
    out.endDocument();
    return bytes.toByteArray();
  }

  interface Content {
    void write() throws Exception;
  }

  static void inside(SAXDocumentSerializer out, String name, Content content) throws Exception {
    out.startElement("", name, name, new AttributesImpl());
    content.write();
    out.endElement("", name, name);
  }

  static String tell(byte[] document, ExternalVocabulary vocabulary) {
    Teller teller = new Teller();
    try {
      SAXDocumentParser parser = new SAXDocumentParser();
      parser.setExternalVocabularies(new HashMap<>(Map.of(vocabulary.URI, vocabulary)));
      parser.setContentHandler(teller);
      parser.parse(new java.io.ByteArrayInputStream(document));
      return teller.text.toString();
    } catch (Exception error) {
      return "refused: " + error;
    }
  }

  /** Tells the children of s:Header and s:Body: names, declarations in scope, attributes, text. */
  static class Teller extends DefaultHandler {
    final StringBuilder text = new StringBuilder();
    private final Deque<Map<String, String>> scopes = new ArrayDeque<>(List.of(new TreeMap<>()));
    private Map<String, String> declared = null;
    private final StringBuilder characters = new StringBuilder();

    @Override
    public void startPrefixMapping(String prefix, String uri) {
      if (declared == null) declared = new TreeMap<>(scopes.peek());
      if (uri.isEmpty()) declared.remove(prefix);
      else declared.put(prefix, uri);
    }

    @Override
    public void startElement(String uri, String name, String qualified, Attributes attributes) {
      flush();
      scopes.push(declared == null ? scopes.peek() : declared);
      declared = null;
      if (scopes.size() == 3) line("#", name);
      if (scopes.size() < 4) return;
      line("(", "{" + uri + "}" + name);
      scopes.peek().forEach((prefix, namespace) -> line("n", prefix + "=" + namespace));
      TreeSet<String> sorted = new TreeSet<>();
      for (int i = 0; i < attributes.getLength(); i++) {
        sorted.add("{" + attributes.getURI(i) + "}" + attributes.getLocalName(i) + "=" + attributes.getValue(i));
      }
      for (String attribute : sorted) line("a", attribute);
    }

    @Override
    public void endElement(String uri, String name, String qualified) {
      flush();
      if (scopes.size() >= 4) line(")", "");
      scopes.pop();
    }

    @Override
    public void characters(char[] from, int start, int length) {
      characters.append(from, start, length);
    }

    private void flush() {
      if (characters.length() > 0 && scopes.size() >= 4) line("t", characters.toString());
      characters.setLength(0);
    }

    private void line(String mark, String what) {
      text.append(mark);
      for (char c : what.toCharArray()) {
        if (c > ' ' && c <= '~' && c != '\\') text.append(c);
        else text.append(String.format("\\%04x", (int) c));
      }
      text.append('\n');
    }
  }
}
