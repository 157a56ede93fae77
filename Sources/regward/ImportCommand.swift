internal import ArgumentParser
internal import Executive
internal import Glibc
internal import RegFile

/// `regward import`: makes in a mount what a `.reg` file says.
struct ImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Makes the changes of a .reg file in a mount.",
    discussion: """
      The whole file is read first: as long as a line of it cannot be read, or names a key outside of the mount or the key given, \
      nothing is changed. Then change after change is made, each judged as any other of this process; the first that is refused \
      ends it, with its line, and what was made before stays.

      Keys are found by their registry names. --prefix says which name in the file stands for the key given: \
      --prefix HKEY_CURRENT_USER for a user's hive.

      Exit status: 0 all done; 1 something was not, with the reason; 2 when the mount cannot be asked.
      """)

  @Flag(help: "Do what can be done: leave out lines that cannot be read or are refused.")
  var keepGoing = false

  @Flag(help: "Change nothing: read the file, and ask the mount's rules about every change.")
  var dryRun = false

  @Option(help: ArgumentHelp("The name in the file that stands for the key.", valueName: "name"))
  var prefix: String?

  @Argument(help: "A key of a mounted hive; the mount point for all of it.", completion: .directory)
  var key: String

  @Argument(help: "The .reg file.", completion: .file())
  var file: String

  func run() throws {
    try MountFailure.exiting { () throws(MountFailure) in
      let mount = try RegFileMount(key)
      guard let bytes = FileText.read(file) else { throw MountFailure("\(file): \(Console.reason(errno))", status: 1) }
      let base = prefix.map { RegFileKeyName(UnicodeName($0)) } ?? mount.key
      var isWhole = true
      // First without an effect: all problems are told before anything is changed.
      forEachChange(of: bytes, below: base, problem: { line in
        isWhole = false
        tell(line)
      }) { _, _ in true }
      guard isWhole || keepGoing else { throw MountFailure("\(file): nothing was changed", status: 1) }
      let target = try RegFileImport(into: mount, isDryRun: dryRun, isSingle: keepGoing)
      func isDone(_ step: () throws(RegFileImport.Refusal) -> Void) -> Bool {
        do throws(RegFileImport.Refusal) {
          try step()
          return true
        } catch {
          isWhole = false
          tell("\(error.line): \(error.reason)")
          return keepGoing
        }
      }
      let reachedEnd = forEachChange(of: bytes, below: base, problem: { _ in }) { change, line in
        isDone { () throws(RegFileImport.Refusal) in try target.make(change, line: line) }
      }
      if reachedEnd { _ = isDone { () throws(RegFileImport.Refusal) in try target.finish() } }
      Console.write(Array("\(file): \(target.summary)\n".utf8), to: STDOUT_FILENO)
      if !isWhole { throw MountFailure("", status: 1) }
    }
  }

  private func tell(_ problem: String) { Console.tell(Console.printable("\(file):\(problem)")) }

  /// Hands on every change that can be read and lies below `base`, until `body` returns false; false then.
  @discardableResult
  private func forEachChange(
    of bytes: [UInt8], below base: RegFileKeyName, problem: (String) -> Void, _ body: (RegFileImport.Change, Int) -> Bool
  ) -> Bool {
    var reader = RegFileReader(bytes)
    var isInside = false
    while true {
      do throws(RegFileProblem) {
        guard let change = try reader.next() else { return true }
        let found: RegFileImport.Change
        switch change {
        case .key(let name), .deletedKey(let name):
          guard let path = RegFileKeyName(name).relative(to: base) else {
            isInside = false
            problem("\(reader.lineNumber): \(name) does not lie below \(base.text)")
            continue
          }
          isInside = true
          if case .key = change { found = .key(path) } else { found = .deletedKey(path) }
        case .value(let name, let value): found = .value(name, value)
        case .deletedValue(let name): found = .deletedValue(name)
        }
        if isInside, !body(found, reader.lineNumber) { return false }
      } catch {
        problem("\(error.line):\(error.column): \(error.message)")
      }
    }
  }
}
