import Foundation

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// A line of XML, parsed by another's parser.
final class XMLLine: NSObject, XMLParserDelegate {
  struct Malformed: Error {}

  /// The texts of `Data`, by their names.
  private(set) var data: [String: String] = [:]
  private var name: String?

  init(_ line: [UInt8]) throws {
    super.init()
    let parser = XMLParser(data: Data(line))
    parser.delegate = self
    guard parser.parse() else { throw Malformed() }
  }

  func parser(
    _: XMLParser, didStartElement element: String, namespaceURI _: String?, qualifiedName _: String?,
    attributes: [String: String]
  ) {
    name = element == "Data" ? attributes["Name"] : nil
    if let name { data[name] = "" }
  }

  func parser(_: XMLParser, foundCharacters text: String) {
    if let name { data[name]? += text }
  }

  func parser(_: XMLParser, didEndElement _: String, namespaceURI _: String?, qualifiedName _: String?) { name = nil }
}
