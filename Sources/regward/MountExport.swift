internal import Executive
internal import Glibc
internal import RegistryFileSystem

/// A key of a mount as `.reg` text, read as any process reads it: by its files.
struct MountExport {
  let export: RegFileExport

  /// `directory` is closed.
  func write(_ directory: Int32, named name: RegFileKeyName) {
    guard let stream = fdopendir(directory) else {
      export.lose("\(name.text): \(Console.reason(errno))")
      close(directory)
      return
    }
    defer { closedir(stream) }
    // The place of several hives is no key of its own.
    guard name.components == ["REGISTRY"] || export.key(name) else { return }
    var children: [(file: [UInt8], name: UnicodeName)] = []
    while let (file, kind) = DirectoryListing.next(stream) {
      switch kind {
      case .link: export.tell("\(name.text): a .reg file cannot say a link; \(text(file)) is left out")
      case .directory: if let child = exactName(file, in: directory, of: name) { children.append((file, child)) }
      case .file:
        if let child = exactName(file, in: directory, of: name) { writeValue(file, child, in: directory, of: name) }
      }
    }
    if errno != 0 { export.lose("\(name.text): \(Console.reason(errno))") }
    let shown: [UnicodeName: UnicodeName] = ["HKLM": "MACHINE", "HKU": "USER"]
    for child in children {
      let childName = name.appending(name.components == ["REGISTRY"] ? shown[child.name.upcased] ?? child.name : child.name)
      let descriptor = openat(directory, text(child.file), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      if descriptor >= 0 {
        write(descriptor, named: childName)
      } else {
        export.lose("\(childName.text): \(Console.reason(errno))")
      }
    }
  }

  /// The registry's name of a file; nil, and told, where only the file system tells things apart.
  private func exactName(_ file: [UInt8], in directory: Int32, of key: RegFileKeyName) -> UnicodeName? {
    guard let decoded = try? NameCodec.decode(file) else {
      export.lose("\(key.text): \(text(file)) is no name; it is left out")
      return nil
    }
    switch decoded.suffix {
    case .none where decoded.isShortened, .value where decoded.isShortened, .type where decoded.isShortened:
      let descriptor = openat(directory, text(file), O_RDONLY | O_CLOEXEC)
      defer { if descriptor >= 0 { close(descriptor) } }
      if descriptor >= 0, let whole = attribute("user.reg.name", of: descriptor) { return try? NameCodec.decode(whole).name }
      export.lose("\(key.text): \(text(file)): \(Console.reason(errno))")
    case .none, .value, .type: return decoded.name
    case .twin, .raw, .lost: export.lose("\(key.text): \(text(file)) has no name of its own; it is left out")
    }
    return nil
  }

  private func writeValue(_ file: [UInt8], _ name: UnicodeName, in directory: Int32, of key: RegFileKeyName) {
    var raw: [UInt8] = []
    NameCodec.encode(name, suffix: .raw, into: &raw)
    var descriptor = openat(directory, text(raw), O_RDONLY | O_CLOEXEC)
    let isRaw = descriptor >= 0
    // A shortened name takes no suffix.
    if !isRaw { descriptor = openat(directory, text(file), O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { return export.lose("\(key.text): the value '\(name)': \(Console.reason(errno))") }
    defer { close(descriptor) }
    let type = attribute("user.reg.type", of: descriptor).flatMap { ValueType(name: String(decoding: $0, as: UTF8.self)) }
    guard let type, var data = FileText.read(descriptor) else {
      return export.lose("\(key.text): the value '\(name)': \(Console.reason(errno))")
    }
    if !isRaw {
      guard let exact = attribute("user.reg.data", of: descriptor) ?? (try? ValueCodec.data(from: data, type: type)) else {
        return export.lose("\(key.text): the value '\(name)' cannot be read exactly")
      }
      data = exact
    }
    export.value(name, RegistryValue(type: type, data: data), of: key)
  }

  private func attribute(_ name: String, of descriptor: Int32) -> [UInt8]? {
    ExtendedAttribute.read(name, of: descriptor)
  }

  private func text(_ file: [UInt8]) -> String { String(decoding: file, as: UTF8.self) }
}
