internal import ProcessTable

/// Which processes an entry is about: everything named must hold (identity.md).
package struct ProcessPattern: Hashable, Sendable {
  package var executable: ExecutablePattern?
  package var userID: UInt32?
  package var groupID: UInt32?
  /// A systemd unit (`acme.service`), or the whole path of a cgroup.
  package var cgroup: String?
  /// What the security module calls the process.
  package var label: String?
  /// The parent's executable.
  package var parent: ExecutablePattern?
  /// The file that an interpreter runs: root's, and nobody else can write it.
  package var script: ExecutablePattern?
  /// The process's own name (comm). Anybody can give it to himself.
  package var name: String?
  /// Of the executable's content: 64 hexadecimal digits in lower case.
  package var digest: String?

  package init(executable: ExecutablePattern? = nil, userID: UInt32? = nil, groupID: UInt32? = nil) {
    self.executable = executable
    self.userID = userID
    self.groupID = groupID
  }

  /// Nothing is named.
  package var isEmpty: Bool { self == ProcessPattern() }

  /// What is cheap first. Without `facts`, nothing but executable and ids can hold.
  func matches(_ process: ProcessContext, _ facts: ProcessFacts?) -> Bool {
    if let userID, userID != process.userID { return false }
    if let groupID, groupID != process.groupID { return false }
    if let executable {
      guard let path = process.executable, executable.matches(path) else { return false }
    }
    if let cgroup {
      guard let facts, facts.unit == cgroup || facts.cgroup == cgroup else { return false }
    }
    if let label {
      guard facts?.label == label else { return false }
    }
    if let name {
      guard facts?.name == name else { return false }
    }
    if let script {
      guard let path = facts?.script, script.matches(path) else { return false }
    }
    if let parent {
      guard let path = facts?.parentExecutable, parent.matches(path) else { return false }
    }
    if let digest {
      guard facts?.digest == digest else { return false }
    }
    return true
  }

  /// Nothing is named that a caller cannot choose but the executable (and what it runs): it must be one that nobody but root can have
  /// put there, and root must run it.
  package var restsOnExecutable: Bool { userID == nil && groupID == nil && cgroup == nil && label == nil }
}
