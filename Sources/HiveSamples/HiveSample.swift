package import Executive

/// A hive as text, read from one file of `hive-samples` (its README has the format).
package struct HiveSample: Sendable {
  package struct Value: Hashable, Sendable {
    package let name: UnicodeName
    package let value: RegistryValue
  }

  package struct Key: Hashable, Sendable {
    /// Components from the root down; empty for the root.
    package let path: [UnicodeName]
    package var values: [Value] = []
  }

  /// What is wrong with a line; lines count from 1.
  package struct SyntaxError: Error, Hashable, Sendable {
    package let line: Int
    package let problem: String

    package init(line: Int, problem: String) {
      self.line = line
      self.problem = problem
    }
  }

  /// 3 to 6.
  package private(set) var minorVersion: Int
  /// LastWrite of every key.
  package private(set) var time: FileTime
  /// Self-relative, of every key.
  package private(set) var securityDescriptor: [UInt8] = []
  /// In the order of the text; a key's parents may be missing.
  package private(set) var keys: [Key] = []

  package init(parsing text: String) throws(SyntaxError) {
    var head: (version: Int, time: FileTime)?
    var securityDescriptor: [UInt8]?
    var number = 0
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      number += 1
      func fail(_ problem: String) -> SyntaxError { SyntaxError(line: number, problem: problem) }
      if line.allSatisfy({ $0 == " " }) || line.hasPrefix("#") { continue }
      let words = line.split(separator: " ")
      if words.first == "hive" {
        guard words.count == 3, head == nil, let version = Int(words[1]), (3...6).contains(version),
          let time = UInt64(words[2])
        else { throw fail("expected once: hive VERSION TIME") }
        head = (version, FileTime(rawValue: time))
      } else if words.first == "security" {
        guard words.count == 2, securityDescriptor == nil, let bytes = SampleText.bytes(words[1]), !bytes.isEmpty else {
          throw fail("expected once: security HEX")
        }
        securityDescriptor = bytes
      } else if line.hasPrefix("[") {
        guard line.hasSuffix("]") else { throw fail("a key's line ends with ]") }
        let path = line.dropFirst().dropLast()
        let components = path.isEmpty ? [] : path.split(separator: "\\", omittingEmptySubsequences: false)
        let names = components.map { UnicodeName(units: SampleText.units($0)) }
        guard names.allSatisfy({ !$0.isEmpty && !$0.units.contains(0x5C) }) else {
          throw fail("a key's name is not empty and has no backslash")
        }
        keys.append(Key(path: names))
      } else {
        guard !keys.isEmpty else { throw fail("a value stands below its key") }
        do {
          keys[keys.count - 1].values.append(try SampleText.value(line))
        } catch {
          throw fail(error.problem)
        }
      }
    }
    guard let head, let securityDescriptor else { throw SyntaxError(line: number, problem: "no hive or security line") }
    minorVersion = head.version
    time = head.time
    self.securityDescriptor = securityDescriptor
  }
}
