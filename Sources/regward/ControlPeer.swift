internal import Glibc
internal import ProcessTable

/// Who is at the other end of a connection, as the kernel noted it when the connection was made (SO_PEERCRED).
struct ControlPeer: Hashable, Sendable {
  /// 0: outside our pid namespace.
  let processID: Int32
  let userID: UInt32
  let groupID: UInt32

  init(processID: Int32, userID: UInt32, groupID: UInt32) {
    self.processID = processID
    self.userID = userID
    self.groupID = groupID
  }

  init?(descriptor: Int32) {
    // struct ucred, which Swift's Glibc does not show: pid, uid, gid.
    var credentials: [UInt32] = [0, 0, 0]
    var size = socklen_t(12)
    guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0, size == 12 else { return nil }
    self.init(processID: Int32(bitPattern: credentials[0]), userID: credentials[1], groupID: credentials[2])
  }
}

/// Lets root in, and the user who mounted; nobody else (wdfilter.md 8, identity.md).
struct ControlPeerJudge: Sendable {
  /// The user who mounted.
  let ownerID: UInt32
  /// What the process table doubts of a process; nil when it does not know it.
  let doubts: @Sendable (ControlPeer) -> [ExemptionDoubt]?

  static func forThisProcess(_ processes: ProcessTable) -> ControlPeerJudge {
    ControlPeerJudge(ownerID: geteuid()) { peer in
      processes.context(forThread: peer.processID, uid: peer.userID, gid: peer.groupID)?.doubts
    }
  }

  /// Why a peer is refused; nil when it is not.
  func refusal(of peer: ControlPeer) -> String? {
    guard peer.userID == 0 || peer.userID == ownerID else { return "only root and the user who mounted may do this" }
    guard peer.processID > 0, let doubts = doubts(peer) else { return "the calling process is not known" }
    if peer.userID == 0 {
      // Root of another user namespace can be anybody there. Where the daemon is not root it cannot see root's namespace, and root
      // needs no leave of it.
      return ownerID == 0 && doubts.contains(.foreignUserNamespace) ? ExemptionDoubt.foreignUserNamespace.rawValue : nil
    }
    // An executable of the user's own says nothing against the user: here the uid counts, and regward itself may be his own build.
    return doubts.first { $0 != .ownExecutable }?.rawValue
  }
}
