internal import Executive
internal import RegistryFileSystem

extension CostBenchmarks {
  /// Names to file names, and values to text and back. Reading a file name is a part of `look up`: it is generic, and from here it would
  /// be measured as no look-up runs it, not specialized.
  static var codecs: [() throws -> MeasuredCase] {
    names.map { encode($0, $1) }
      + values.flatMap { kind, value in [text(kind, value), data(kind, value)] }
  }

  private static let names: [(String, UnicodeName)] = [
    ("plain", "DependOnService"), ("with escapes", #"C:/Program Files/100%/x"#), ("Cyrillic", "Вложение"),
  ]

  private static func encode(_ kind: String, _ name: UnicodeName) -> () throws -> MeasuredCase {
    {
      var bytes: [UInt8] = []
      bytes.reserveCapacity(2048)
      return try MeasuredCase("encode name, \(kind)", count: 1000) { _ in
        bytes.removeAll(keepingCapacity: true)
        NameCodec.encode(name, into: &bytes)
      }
    }
  }

  private static let values: [(String, RegistryValue)] = [
    ("REG_SZ", RegistryValue(type: .sz, data: utf16(#"C:\Windows\System32\drivers\tcpip.sys"# + "\0"))),
    ("REG_MULTI_SZ", RegistryValue(type: .multiSz, data: utf16("RpcSs\0NSI\0Tdx\0Afd\0\0"))),
    ("REG_DWORD", RegistryValue(type: .dword, data: [0x2A, 0, 1, 0])),
  ]

  private static func utf16(_ text: String) -> [UInt8] { text.utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] } }

  private static func text(_ kind: String, _ value: RegistryValue) -> () throws -> MeasuredCase {
    { try MeasuredCase("text of \(kind)", count: 1000) { _ in use(ValueCodec.text(of: value)) } }
  }

  private static func data(_ kind: String, _ value: RegistryValue) -> () throws -> MeasuredCase {
    {
      let text = ValueCodec.text(of: value)
      let read = try ValueCodec.data(from: text, type: value.type)
      precondition(read == value.data)
      return try MeasuredCase("\(kind) of text", count: 1000) { _ in use(try ValueCodec.data(from: text, type: value.type)) }
    }
  }
}
