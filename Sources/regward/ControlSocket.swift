internal import Executive
internal import Glibc
internal import Synchronization

/// The socket through which a mount is controlled: one thread, which waits for nobody in particular.
///
/// 1. At most `mostConnections` at once; who comes then is told so and closed, as is who may not be here.
/// 2. A packet has at most `SequencedSocket.longestPacket` bytes. Who sends a longer one, an empty one, or one that is no JSON is
///    cut off; so is who does not read.
/// 3. Each connection gets one packet handled per round, and what it subscribed to as far as it reads, so none keeps the others
///    from their turn.
/// 4. Names of sockets that nobody listens on, left by daemons that were killed, are removed by the next; one's own at the end, and
///    only while it is one's own.
final class ControlSocket: Sendable {
  struct Counters: Hashable, Sendable {
    var connections = 0
    var accepted: UInt64 = 0
    /// Not root nor the mounting user, a process that is doubted, or one too many.
    var refused: UInt64 = 0
    var cutOff: UInt64 = 0
    var packets: UInt64 = 0
  }

  static let mostConnections = 64

  let path: String
  private let listener: Int32
  /// A byte in it makes the thread look around.
  private let wake: (reader: Int32, writer: Int32)
  private let isStopping = Atomic<Bool>(false)
  private let identity: (device: dev_t, inode: ino_t)
  private let service: ControlService
  private let judge: ControlPeerJudge
  private let totals = Mutex(Counters())
  private let thread = Mutex<SystemThread?>(nil)

  /// Listens, and serves until `stop`.
  init(
    for mountPoint: String, in directory: RuntimeDirectory, service: ControlService, judge: ControlPeerJudge
  ) throws(MountFailure) {
    let lock = try directory.open()
    defer { close(lock) }
    do throws(SystemError) {
      listener = try SequencedSocket.make(blocks: false)
    } catch {
      throw .system("cannot make a control socket", error.code)
    }
    do throws(SystemError) {
      (path, identity) = try Self.listen(listener, RuntimeDirectory.name(of: mountPoint), in: directory.path)
    } catch {
      close(listener)
      throw .system("cannot make a control socket in \(directory.path)", error.code)
    }
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      let code = errno
      close(listener)
      unlink(path)
      throw .system("cannot make a pipe", code)
    }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    wake = (ends[0], ends[1])
    self.service = service
    self.judge = judge
    let started = SystemThread(name: "control-socket") { self.serve() }
    thread.withLock { $0 = started }
  }

  /// The name is `NAME.sock`, or `NAME-PID.sock` while another daemon answers under that: mounts can lie on each other.
  private static func listen(
    _ descriptor: Int32, _ name: String, in folder: String
  ) throws(SystemError) -> (path: String, identity: (device: dev_t, inode: ino_t)) {
    let temporary = "\(folder)/.\(name)-\(getpid())"
    removeStale(in: folder)
    try SequencedSocket.bind(descriptor, to: temporary)
    // The folder is shut already; a second wall costs nothing.
    chmod(temporary, 0o600)
    guard Glibc.listen(descriptor, Int32(mostConnections)) == 0 else { throw SystemError() }
    let wanted = "\(folder)/\(name).sock"
    let path = access(wanted, F_OK) == 0 ? "\(folder)/\(name)-\(getpid()).sock" : wanted
    guard rename(temporary, path) == 0 else {
      let error = SystemError()
      unlink(temporary)
      throw error
    }
    var status = stat()
    guard stat(path, &status) == 0 else { throw SystemError() }
    return (path, (status.st_dev, status.st_ino))
  }

  /// A living daemon's name leads to a listener from its first moment: it listens before it renames, and all under the folder's lock.
  private static func removeStale(in folder: String) {
    guard let stream = opendir(folder) else { return }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      // SAFETY: d_name holds a C string that lives until the next readdir of this stream.
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard name != ".", name != "..", isStale(folder + "/" + name) else { continue }
      unlink(folder + "/" + name)
    }
  }

  /// A socket, and nobody listens.
  private static func isStale(_ path: String) -> Bool {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK,
      let probe = try? SequencedSocket.make(blocks: false)
    else { return false }
    defer { close(probe) }
    do throws(SystemError) { try SequencedSocket.connect(probe, to: path) } catch { return error.code == ECONNREFUSED }
    return false
  }

  var counters: Counters { totals.withLock { $0 } }

  /// Ends the thread, closes every connection, and removes the name.
  func stop() {
    guard let thread = thread.withLock({ $0.take() }) else { return }
    isStopping.store(true, ordering: .releasing)
    lookAround()
    thread.join()
    var status = stat()
    if stat(path, &status) == 0, status.st_dev == identity.device, status.st_ino == identity.inode { unlink(path) }
    for descriptor in [listener, wake.reader, wake.writer] { close(descriptor) }
  }

  /// On any thread, while the socket's own runs. A full pipe has woken it already.
  private func lookAround() {
    var byte: UInt8 = 0
    _ = write(wake.writer, &byte, 1)
  }

  // MARK: The thread

  private struct Client {
    let descriptor: Int32
    let connection: ControlConnection
  }

  private func serve() {
    var clients: [Client] = []
    defer { for client in clients { drop(client) } }
    while true {
      var waits = [pollfd(fd: wake.reader, events: Int16(POLLIN), revents: 0)]
      waits.append(pollfd(fd: listener, events: Int16(POLLIN), revents: 0))
      waits += clients.map { client in
        let events = client.connection.hasOutput ? POLLIN | POLLOUT : POLLIN
        return pollfd(fd: client.descriptor, events: Int16(events), revents: 0)
      }
      guard poll(&waits, nfds_t(waits.count), -1) >= 0 else {
        if errno == EINTR || errno == EAGAIN { continue }
        return
      }
      if isStopping.load(ordering: .acquiring) { return }
      if waits[0].revents != 0 {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(wake.reader, &bytes, bytes.count) > 0 {}
      }
      for (index, client) in clients.enumerated().reversed() where waits[index + 2].revents != 0 {
        guard !attend(to: client, Int32(waits[index + 2].revents)) else { continue }
        drop(client)
        clients.remove(at: index)
      }
      if waits[1].revents != 0 { accept(into: &clients) }
      totals.withLock { $0.connections = clients.count }
    }
  }

  /// False when the connection is over; a hang-up is found by receiving.
  private func attend(to client: Client, _ ready: Int32) -> Bool {
    if ready & Int32(POLLOUT) != 0, !client.connection.sendOutput() { return false }
    return ready & ~Int32(POLLOUT) == 0 || handlePacket(of: client)
  }

  private func drop(_ client: Client) {
    client.connection.close()
    service.forget(client.connection)
  }

  private func accept(into clients: inout [Client]) {
    let descriptor = Glibc.accept(listener, nil, nil)
    guard descriptor >= 0 else {
      // Without descriptors the listener stays readable: not a reason to spin.
      if errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS { usleep(100_000) }
      return
    }
    SequencedSocket.prepare(descriptor, blocks: false)
    let peer = ControlPeer(descriptor: descriptor)
    let refusal = peer.map { judge.refusal(of: $0) } ?? "the calling process is not known"
    let isFull = clients.count >= Self.mostConnections
    guard let peer, refusal == nil, !isFull else {
      totals.withLock { $0.refused += 1 }
      let answer = ControlService.failure(nil, refusal ?? "too many connections").json
      _ = SequencedSocket.send(Array(answer.utf8), to: descriptor)
      close(descriptor)
      return
    }
    totals.withLock { $0.accepted += 1 }
    let connection = ControlConnection(peer: peer, descriptor: descriptor) { [weak self] in self?.lookAround() }
    clients.append(Client(descriptor: descriptor, connection: connection))
  }

  /// False when the connection is over.
  private func handlePacket(of client: Client) -> Bool {
    let packet: [UInt8]
    do throws(SystemError) {
      guard let received = try SequencedSocket.receive(from: client.descriptor) else { return false }
      packet = received
    } catch {
      return error.code == EAGAIN || error.code == EINTR
    }
    totals.withLock { $0.packets += 1 }
    let reaction = packet.count > SequencedSocket.longestPacket
      ? ControlService.Reaction(answer: ControlService.failure(nil, "the packet is too long"), cutsOff: true)
      : service.react(to: packet, from: client.connection)
    let isTaken = reaction.answer.map { client.connection.send(Array($0.json.utf8)) == 0 } ?? true
    guard isTaken, !reaction.cutsOff else {
      totals.withLock { $0.cutOff += 1 }
      return false
    }
    return true
  }
}
