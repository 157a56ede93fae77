internal import ConfigurationManager
internal import Executive

/// A directory of `/%ctl/` in which every key of the mount has a file: `NAME/PATH` and the suffix. A path without the suffix is a
/// directory on the way, since a key with subkeys cannot be a file and a directory under one name.
struct ControlView: Sendable {
  enum Direction: Sendable {
    /// The file is read: `work` fills it when it is opened.
    case read
    /// The file is written: `work` uses it when it is closed.
    case written
  }

  typealias Work = @Sendable (RegistryFileSystem, KeyControlBlock, UnnamedFile, Caller) throws(NTStatus) -> Void

  let name: String
  let suffix: String
  let direction: Direction
  /// Whether the caller may: asked at each read, and when a file is opened for writing.
  let judge: @Sendable (RegistryFileSystem, KeyControlBlock, Caller) throws(NTStatus) -> Void
  let work: Work

  static let all: [ControlView] = [
    ControlView(
      name: "export", suffix: ".reg", direction: .read,
      judge: { fileSystem, key, caller throws(NTStatus) in try fileSystem.registry.askSaveKey(key, by: caller) },
      work: { fileSystem, key, file, caller throws(NTStatus) in
        // As it is at one moment: a text takes long to write.
        let saved = try UnnamedFile(name: "%ctl/export")
        try fileSystem.registry.saveKey(key, to: saved, by: caller)
        try fileSystem.handler.export(saved, named: try fileSystem.registry.completeName(of: key), to: file)
      }),
    ControlView(
      name: "save", suffix: ".hiv", direction: .read,
      judge: { fileSystem, key, caller throws(NTStatus) in try fileSystem.registry.askSaveKey(key, by: caller) },
      work: { fileSystem, key, file, caller throws(NTStatus) in
        try fileSystem.registry.saveKey(key, to: file, by: caller)
      }),
    ControlView(
      name: "restore", suffix: ".hiv", direction: .written,
      judge: { fileSystem, key, caller throws(NTStatus) in try fileSystem.registry.admitRestoreKey(key, by: caller) },
      work: { fileSystem, key, file, caller throws(NTStatus) in
        try fileSystem.restore(key, by: caller) { () throws(NTStatus) in
          try fileSystem.registry.restoreKey(key, from: file, by: caller)
        }
      }),
  ]
}

/// One open file of a view.
final class ViewSession: Sendable {
  let view: ControlView
  let key: KeyControlBlock
  let file: UnnamedFile

  init(view: ControlView, key: KeyControlBlock, file: UnnamedFile) {
    self.view = view
    self.key = key
    self.file = file
  }
}
