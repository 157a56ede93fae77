internal import Executive
internal import Glibc
internal import Synchronization

/// What a classifier may ask of one process. The context is there; all else is read from /proc when it is asked for, once.
///
/// Worth as proof: uid, gid, cgroup, label and a root-owned executable cannot be chosen by the caller. `name` can, by every
/// process. `script` is the word on the command line, which who starts the interpreter chooses, and whose environment
/// (PYTHONPATH, BASH_ENV) he chooses with it: like an executable it proves something of trusted users only.
package final class ProcessFacts: Sendable {
  /// Without a record: that is what is being made. Its user and group are those of the request, or the process's own
  /// when nobody asks.
  package let context: ProcessContext
  private let directory: TaskDirectory
  private let digests: ExecutableDigests
  private let known = Mutex(Known())

  /// nil: not asked yet; .some(nil): there is none.
  private struct Known {
    var cgroup: String??
    var label: String??
    var name: String??
    var parent: String??
    var script: String??
    var digest: String??
  }

  init(context: ProcessContext, directory: TaskDirectory, digests: ExecutableDigests) {
    self.context = context
    self.directory = directory
    self.digests = digests
  }

  private func remembered(_ field: any WritableKeyPath<Known, String??> & Sendable, _ read: () -> String?) -> String? {
    if let value = known.withLock({ $0[keyPath: field] }) { return value }
    let value = read()
    known.withLock { $0[keyPath: field] = .some(value) }
    return value
  }

  /// The path in the unified hierarchy, or else in systemd's own: `/system.slice/ssh.service`.
  package var cgroup: String? {
    remembered(\.cgroup) { [directory] in
      guard let text = directory.text("cgroup") else { return nil }
      let lines = text.split(separator: "\n")
      let line = lines.first { $0.hasPrefix("0::") && $0 != "0::/" } ?? lines.first { $0.contains(":name=systemd:") }
        ?? lines.first { $0.hasPrefix("0::") }
      // A path may hold colons; the two before it do not.
      return line?.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).last.map(String.init)
    }
  }

  /// The last part of the cgroup that is a unit: `ssh.service`.
  package var unit: String? {
    let endings = [".service", ".scope", ".slice", ".socket", ".mount"]
    return cgroup?.split(separator: "/").last { part in endings.contains { part.hasSuffix($0) } }.map(String.init)
  }

  /// What the security module calls it: an AppArmor profile with its mode, a SELinux context. Nil without one.
  package var label: String? {
    remembered(\.label) { [directory] in
      guard let text = directory.text("attr/current") else { return nil }
      let label = text.prefix { $0 != "\0" && $0 != "\n" }
      return label.isEmpty ? nil : String(label)
    }
  }

  /// The name that the leader has given itself (comm).
  package var name: String? {
    remembered(\.name) { [directory] in directory.text("comm").map { String($0.dropLast($0.hasSuffix("\n") ? 1 : 0)) } }
  }

  /// The executable of the parent. Nil when the parent is gone: then the process has another parent by now.
  package var parentExecutable: String? {
    remembered(\.parent) { [context, directory] in
      guard let parent = TaskDirectory.open(context.parentID), let path = parent.link("exe"),
        // Still its child after the link was read, so that was the parent's.
        let stat = directory.text("stat").flatMap(TaskStat.init), stat.field(4) == context.parentID
      else { return nil }
      return path
    }
  }

  /// The file that a known interpreter was given as its first word, without symbolic links; only when it is root's and nobody else can
  /// write it or put another in its place. Of a process that sees other mounts than we do, or another root, there is none: there the
  /// path leads wherever it wants.
  package var script: String? {
    remembered(\.script) { [context, directory] in
      guard let executable = context.executable, Self.isInterpreter(executable),
        let words = directory.read("cmdline", limit: 32768)?.bytes.split(separator: 0, omittingEmptySubsequences: false),
        words.count > 1
      else { return nil }
      let word = String(decoding: words[1], as: UTF8.self)
      guard !word.isEmpty, !word.hasPrefix("-"), let own = TaskDirectory.open(getpid()), let mounts = own.link("ns/mnt"),
        directory.link("ns/mnt") == mounts, let root = own.link("root"), directory.link("root") == root
      else { return nil }
      if word.hasPrefix("/") { return TrustedFile.resolve(word) }
      return directory.link("cwd").flatMap { TrustedFile.resolve($0 + "/" + word) }
    }
  }

  private static func isInterpreter(_ path: String) -> Bool {
    let name = path.split(separator: "/").last ?? ""
    // With a version behind it: python3.11, perl5.36.0.
    let stem = name.prefix { !$0.isNumber && $0 != "." }.drop { $0 == "-" }
    return ["sh", "bash", "dash", "zsh", "ksh", "busybox", "python", "pypy", "perl", "ruby", "node", "nodejs", "php", "lua", "tclsh"]
      .contains(String(stem.hasSuffix("-") ? stem.dropLast() : stem))
  }

  /// SHA-256 of the executable, in hexadecimal; nil when it is larger than `ExecutableDigests.sizeLimit`, cannot be read or
  /// lies on a FUSE file system, which may be waiting for this very answer.
  package var digest: String? {
    remembered(\.digest) { [context, directory, digests] in
      context.executableFile.flatMap { digests.digest(of: $0, directory) }
    }
  }
}
