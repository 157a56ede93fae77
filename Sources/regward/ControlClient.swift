internal import Glibc

/// The other end of a mount's control socket.
struct ControlClient: ~Copyable {
  private let descriptor: Int32

  private init(descriptor: Int32) { self.descriptor = descriptor }

  /// Connects to the mount that `path` lies on.
  init(mountOf path: String) throws(MountFailure) { self.init(descriptor: try Self.connect(path)) }

  private static func connect(_ path: String) throws(MountFailure) -> Int32 {
    guard let socketPath = try MountStatus.read(of: path)["socket"]?.string else {
      throw MountFailure("the mount of \(path) has no control socket", status: MountFailure.systemStatus)
    }
    let descriptor: Int32
    do throws(SystemError) { descriptor = try SequencedSocket.make(blocks: true) } catch {
      throw .system("cannot make a socket", error.code)
    }
    do throws(SystemError) { try SequencedSocket.connect(descriptor, to: socketPath) } catch {
      close(descriptor)
      throw .system("cannot reach \(socketPath)", error.code)
    }
    return descriptor
  }

  deinit { close(descriptor) }

  /// The answer to one message.
  func ask(_ message: JSONValue) throws(MountFailure) -> JSONValue {
    let failure = SequencedSocket.send(Array(message.json.utf8), to: descriptor)
    // A refusal may lie there already, from a daemon that has hung up.
    guard failure == 0 || failure == EPIPE || failure == ECONNRESET else { throw .system("cannot send", failure) }
    guard let answer = try receive() else { throw MountFailure("the daemon hung up", status: MountFailure.systemStatus) }
    return answer
  }

  /// What the daemon sends next, as long as that takes; nil when the mount has ended.
  func receive() throws(MountFailure) -> JSONValue? {
    var packet: [UInt8]?
    var isReset = false
    while true {
      do throws(SystemError) {
        packet = try SequencedSocket.receive(from: descriptor)
        break
      } catch {
        // The daemon has closed without reading all that was sent; what it said before comes behind that error.
        guard error.code == EINTR || error.code == ECONNRESET && !isReset else { throw .system("no answer", error.code) }
        isReset = isReset || error.code == ECONNRESET
      }
    }
    guard let packet else { return nil }
    return try Self.parse(packet)
  }

  private static func parse(_ packet: [UInt8]) throws(MountFailure) -> JSONValue {
    do throws(JSONReader.Problem) { return try JSONReader.read(packet) } catch {
      throw MountFailure("the answer is no JSON: \(error.description)", status: MountFailure.systemStatus)
    }
  }
}

/// What a mount says of itself in `/%ctl/status`.
enum MountStatus {
  static func text(of path: String) throws(MountFailure) -> [UInt8] {
    let absolute = FilePath.resolveExisting(path)
    guard let mountPoint = MountTable.mount(of: absolute, among: MountTable.read()) else {
      throw MountFailure("\(path) lies on no regward mount", status: MountFailure.systemStatus)
    }
    guard let text = FileText.read(mountPoint + "/%ctl/status") else {
      throw .system("cannot ask \(mountPoint)", errno)
    }
    return text
  }

  static func read(of path: String) throws(MountFailure) -> JSONValue {
    let text = try text(of: path)
    do throws(JSONReader.Problem) { return try JSONReader.read(text) } catch {
      throw MountFailure("the status is no JSON: \(error.description)", status: MountFailure.systemStatus)
    }
  }
}
