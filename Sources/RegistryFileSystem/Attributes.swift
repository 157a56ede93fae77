package import Executive

/// What stat(2) shows.
package struct Attributes: Sendable {
  package enum Kind: Sendable { case directory, file, link }

  package var kind: Kind
  package var inode: UInt64
  /// Permission bits.
  package var permissions: UInt32
  package var links: UInt32
  /// Bytes.
  package var size: Int
  package var modified: FileTime
  /// False while somebody writes: the kernel must ask again each time.
  package var isCacheable: Bool
}

/// The answer to a look-up.
package struct Entry: Sendable {
  package var nodeID: UInt64
  package var generation: UInt64
  package var attributes: Attributes
  /// The name was given as the registry's own spelling encodes: only then may the kernel keep the entry.
  package var isExactSpelling: Bool
}

/// How files look and to whom they belong.
package struct Presentation: Sendable {
  package var userID: UInt32
  package var groupID: UInt32
  package var directoryPermissions: UInt32
  package var filePermissions: UInt32
  /// A SYSTEM hive has a link `CurrentControlSet`.
  package var showsCurrentControlSet: Bool
  /// How files show their values; `%raw` is the bytes in any case.
  package var view: ValueView
  /// Values are listed with the alias of their type (`Start%dword`).
  package var listsTypes: Bool

  /// `fileMask` and `directoryMask` count instead of `umask` where they are given.
  package init(
    userID: UInt32, groupID: UInt32, umask: UInt32, fileMask: UInt32? = nil, directoryMask: UInt32? = nil, isReadOnly: Bool,
    showsCurrentControlSet: Bool = true, view: ValueView = .text, listsTypes: Bool = false
  ) {
    self.showsCurrentControlSet = showsCurrentControlSet
    self.view = view
    self.listsTypes = listsTypes
    self.userID = userID
    self.groupID = groupID
    // A read-only mount shows what can be done with it.
    let writable: UInt32 = isReadOnly ? 0o555 : 0o777
    directoryPermissions = 0o777 & writable & ~(directoryMask ?? umask)
    filePermissions = 0o666 & writable & ~(fileMask ?? umask)
  }

  /// The user owns every file, and no bit keeps him from anything.
  package func givesAll(to user: UInt32) -> Bool {
    userID == user && directoryPermissions & 0o700 == 0o700 && filePermissions & 0o600 == 0o600
  }
}

/// The kernel's cache, as far as it must be told. Called before the reply to the change that it is about.
package protocol KernelCache: AnyObject, Sendable {
  /// Every cached name is looked up again at its next use.
  func dropNames()
  /// The node's attributes are asked for again.
  func dropAttributes(of nodeID: UInt64)
  /// The node's cached pages are dropped soon; the caller does not wait.
  func dropPages(of nodeID: UInt64)
}
