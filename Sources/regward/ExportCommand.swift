internal import ArgumentParser
internal import Executive
internal import Glibc
internal import HiveStorage
internal import RegFile

extension RegFileWriter.Encoding: ExpressibleByArgument {}

/// `regward export`: a key and everything below it as `.reg` text.
struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Writes a key and everything below it as .reg text.",
    discussion: """
      SOURCE is a key of a mount, by its path, or a hive file, with a key of it behind a colon: SYSTEM:ControlSet001\\Services. \
      A file gets UTF-16LE with CR LF, as regedit writes it; a terminal or a pipe UTF-8 with LF. The new file must not be there \
      yet and is made with mode 0600.

      A .reg file knows keys, values, types and data. It does not know times, classes, security, nor that a key is a link; these \
      are left behind. What else it cannot carry is told on standard error: key names with a line feed or a backslash, second \
      twins of a damaged hive, what is damaged.

      Exit status: 0 written; 1 something is missing in the text, or nothing could be written; 2 when a mount cannot be asked.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to make.", valueName: "file"), completion: .file())
  var output: String?

  @Option(help: ArgumentHelp("utf-16 or utf-8, whatever the output is.", valueName: "encoding"))
  var encoding: RegFileWriter.Encoding?

  @Option(help: ArgumentHelp("What the key is called in the text, HKEY_CURRENT_USER for one.", valueName: "name"))
  var prefix: String?

  @Argument(help: ArgumentHelp("A key of a mount, or HIVE[:KEY].", valueName: "source"), completion: .file())
  var source: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      var status = stat()
      let isDirectory = stat(source, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
      let isWhole = isDirectory ? try exportMount() : try exportHive()
      if !isWhole { throw MountFailure("", status: 1) }
    }
  }

  private func exportMount() throws(MountFailure) -> Bool {
    let mount = try RegFileMount(source)
    RegFileMount.raiseDescriptorLimit()
    let directory = open(mount.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw MountFailure("\(source): \(Console.reason(errno))", status: 1) }
    let name = prefix.map { RegFileKeyName(UnicodeName($0)) } ?? mount.key
    let (text, descriptor) = try begin()
    MountExport(export: text).write(directory, named: name)
    return try end(text, descriptor)
  }

  private func exportHive() throws(MountFailure) -> Bool {
    let (path, key) = hiveAndKey
    let hive = try openHive(path)
    let start: (cell: CellIndex, path: [UnicodeName])?
    do throws(HiveError) { start = try HiveExport.find(key, in: hive) } catch {
      throw MountFailure("\(path): \(error)", status: 1)
    }
    guard let start else { throw MountFailure("\(path): there is no key '\(key.text)'", status: 1) }
    let place = RegistryLocation.inferred(rootKeys: HiveSurvey.rootKeys(hive), fileName: FilePath.lastComponent(path))
    let name = prefix.map { RegFileKeyName(UnicodeName($0)) }
      ?? RegFileKeyName(components: RegFileKeyName(place).components + start.path)
    let (text, descriptor) = try begin()
    if let unrecovered = hive.unrecovered { text.lose("\(unrecovered)") }
    HiveExport.write(hive, from: start.cell, named: name, to: text)
    return try end(text, descriptor)
  }

  private func openHive(_ path: String) throws(MountFailure) -> Hive {
    do throws(HiveError) { return try Hive(HiveFile(path: path, access: .inspection)) } catch {
      throw MountFailure("\(path): \(error)", status: 1)
    }
  }

  /// The text before the last colon that names a file.
  private var hiveAndKey: (path: String, key: RegFileKeyName) {
    var end = source.endIndex
    while access(String(source[..<end]), F_OK) != 0, let colon = source[..<end].lastIndex(of: ":") { end = colon }
    guard end < source.endIndex, access(String(source[..<end]), F_OK) == 0 else { return (source, RegFileKeyName(components: [])) }
    let key = source[source.index(after: end)...].replacing("/", with: "\\")
    return (String(source[..<end]), RegFileKeyName(components: key.split(separator: "\\").map { UnicodeName($0) }))
  }

  private func begin() throws(MountFailure) -> (export: RegFileExport, descriptor: Int32) {
    var descriptor = STDOUT_FILENO
    if let output {
      descriptor = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw MountFailure("\(output): \(Console.reason(errno))", status: 1) }
    }
    var status = stat()
    let isFile = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    let export = RegFileExport(of: source, encoding: encoding ?? (isFile ? .utf16 : .utf8)) { [descriptor] in
      Console.write($0, to: descriptor)
    }
    return (export, descriptor)
  }

  /// Whether everything is in the text. A file that is not whole is taken away.
  private func end(_ export: RegFileExport, _ descriptor: Int32) throws(MountFailure) -> Bool {
    var isWritten = export.finish()
    if let output {
      isWritten = close(descriptor) == 0 && isWritten
      if !isWritten { unlink(output) }
    }
    guard isWritten else { throw MountFailure("\(output ?? "standard output") could not be written", status: 1) }
    return export.isWhole
  }
}
