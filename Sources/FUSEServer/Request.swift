internal import CFuse3
internal import ConfigurationManager
internal import Executive
internal import Glibc
internal import RegistryFileSystem

/// What a request gets back; an error is thrown instead.
enum Answer: Sendable {
  /// `stalePages`, here and below, is a node whose cached pages must be gone before the reply.
  case success(stalePages: UInt64? = nil)
  case attributes(Attributes, stalePages: UInt64? = nil)
  case entry(Entry)
  case opened(OpenFile, keepsCache: Bool)
  case created(Entry, OpenFile)
  case openedDirectory(DirectoryStream)
  /// The entries from `position` on, as many as fit into `size` bytes.
  /// `directory` is set where the kernel wants each name's look-up too.
  case listing(DirectoryStream, directory: UInt64?, position: Int, size: Int)
  case bytes([UInt8])
  /// An extended attribute or the list of their names, for a caller with room for `size` bytes; with 0 he asks the length.
  case attribute([UInt8], size: Int)
  /// Where a link leads, NUL-terminated.
  case target([UInt8])
  case written(Int)
  case space(HiveSpace)
}

/// One request of the kernel (fuse_req_t). It is answered exactly once: the answer consumes it.
struct Request: ~Copyable {
  private let handle: fuse_req_t
  let session: MountedSession

  /// Nil, and no answer ever, for a request that libfuse did not make.
  init?(_ handle: fuse_req_t?) {
    guard let handle, let userData = fuse_req_userdata(handle) else { return nil }
    self.handle = handle
    // SAFETY: the session's user data is a `MountedSession` that `Server` holds until the session is destroyed.
    session = Unmanaged<MountedSession>.fromOpaque(userData).takeUnretainedValue()
  }

  /// Runs `body` for a request and answers with what it returns or throws.
  static func serve(
    _ handle: fuse_req_t?, info: UnsafeMutablePointer<fuse_file_info>? = nil,
    _ body: (RegistryFileSystem, borrowing Request) throws(Errno) -> Answer
  ) {
    guard let request = Request(handle) else { return }
    do throws(Errno) {
      let answer = try body(request.session.fileSystem, request)
      request.reply(answer, info: info)
    } catch {
      request.reply(error)
    }
  }

  /// The thread that asks. Its id is 0 when it lives in a pid namespace that is not ours, and for what the kernel does
  /// of itself.
  var caller: Caller {
    guard let context = fuse_req_ctx(handle)?.pointee, context.pid > 0 else { return .unknown }
    return Caller(threadID: context.pid, userID: context.uid, groupID: context.gid)
  }

  /// The thread that closes a file: the one request that a process may send while it is inside execve.
  var closer: Caller {
    let caller = caller
    return Caller(threadID: caller.threadID, userID: caller.userID, groupID: caller.groupID, mayBeInExec: true)
  }

  /// Hands the duty to answer to `body`.
  consuming func answerLater(_ body: (MountedSession, fuse_req_t) -> Void) { body(session, handle) }

  consuming func reply(_ error: Errno) { fuse_reply_err(handle, error.rawValue) }

  /// For forgets, which the kernel does not wait for.
  consuming func replyNothing() { fuse_reply_none(handle) }

  consuming func reply(_ answer: Answer, info: UnsafeMutablePointer<fuse_file_info>? = nil) {
    switch answer {
    case .success(let stalePages?):
      session.notifier.dropPages(of: stalePages, then: DeferredReply(handle: handle, answer: .success()))
    case .success(nil):
      fuse_reply_err(handle, 0)
    case .attributes(let attributes, let stalePages?):
      session.notifier.dropPages(
        of: stalePages, then: DeferredReply(handle: handle, answer: .attributes(attributes)))
    case .attributes(let attributes, nil):
      var status = stat(attributes, session.presentation)
      fuse_reply_attr(handle, &status, attributes.timeout)
    case .entry(let entry):
      var parameters = fuse_entry_param(entry, session)
      // An interrupted caller never hears of the look-up: it is given back.
      if fuse_reply_entry(handle, &parameters) != 0 { session.fileSystem.forget(entry.nodeID, count: 1) }
    case .opened(let file, let keepsCache):
      replyOpened(file, keepsCache: keepsCache, info)
    case .created(let entry, let file):
      replyCreated(entry, file, info)
    case .openedDirectory(let stream):
      guard let info else { return reply(.io) }
      let retained = Unmanaged.passRetained(stream)
      info.pointee.fh = FileHandle.number(retained.toOpaque())
      info.pointee.cache_readdir = stream.caching == .none ? 0 : 1
      info.pointee.keep_cache = stream.caching == .kept ? 1 : 0
      if fuse_reply_open(handle, info) != 0 {
        session.fileSystem.closeDirectory(stream, by: .unknown)
        retained.release()
      }
    case .listing(let stream, let directory, let position, let size):
      replyListing(stream, directory: directory, from: position, size: size)
    case .bytes(let bytes):
      reply(bytes: bytes)
    case .attribute(let bytes, let size):
      if size == 0 {
        fuse_reply_xattr(handle, bytes.count)
      } else if size < bytes.count {
        fuse_reply_err(handle, Errno.range.rawValue)
      } else {
        reply(bytes: bytes)
      }
    case .target(let path):
      _ = path.withUnsafeBytes { fuse_reply_readlink(handle, $0.baseAddress?.assumingMemoryBound(to: CChar.self)) }
    case .written(let count):
      fuse_reply_write(handle, count)
    case .space(let space):
      var status = statvfs(space)
      fuse_reply_statfs(handle, &status)
    }
  }

  private consuming func reply(bytes: [UInt8]) {
    _ = bytes.withUnsafeBytes { buffer in
      fuse_reply_buf(handle, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
    }
  }

  private consuming func replyOpened(
    _ file: OpenFile, keepsCache: Bool, _ info: UnsafeMutablePointer<fuse_file_info>?
  ) {
    guard let info else {
      session.fileSystem.release(file)
      return reply(.io)
    }
    let retained = Unmanaged.passRetained(file)
    FileHandle.fill(info, with: retained.toOpaque(), file, keepsCache: keepsCache)
    if fuse_reply_open(handle, info) != 0 {
      session.fileSystem.release(file)
      retained.release()
    }
  }

  private consuming func replyCreated(
    _ entry: Entry, _ file: OpenFile, _ info: UnsafeMutablePointer<fuse_file_info>?
  ) {
    guard let info else {
      session.fileSystem.release(file)
      session.fileSystem.forget(entry.nodeID, count: 1)
      return reply(.io)
    }
    let retained = Unmanaged.passRetained(file)
    FileHandle.fill(info, with: retained.toOpaque(), file, keepsCache: false)
    var parameters = fuse_entry_param(entry, session)
    if fuse_reply_create(handle, &parameters, info) != 0 {
      session.fileSystem.release(file)
      session.fileSystem.forget(entry.nodeID, count: 1)
      retained.release()
    }
  }

  /// An entry carries the offset of its successor.
  private consuming func replyListing(_ stream: DirectoryStream, directory: UInt64?, from first: Int, size: Int) {
    let room = max(0, min(size, 1 << 20))
    withUnsafeTemporaryAllocation(byteCount: room, alignment: 8) { buffer in
      let start = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
      var used = 0
      var lookUps: [UInt64] = []
      var position = first
      var hasRoom = true
      let ofKeys = directory != nil && session.fileSystem.listsLookUps(of: .directory, for: caller)
      let ofValues = directory != nil && session.fileSystem.listsLookUps(of: .file, for: caller)
      while hasRoom, position < stream.count {
        hasRoom =
          stream.withEntry(at: position) { entry, name in
            var parameters = fuse_entry_param()
            parameters.attr.st_ino = UInt(entry.inode)
            parameters.attr.st_mode = entry.kind.mode
            let place = start.map { $0 + used }
            let length: Int
            if let directory {
              // `.` and `..` carry no look-up, nor does what is gone since.
              let isAsked = position >= 2 && (entry.kind == .file ? ofValues : ofKeys)
              let found = isAsked ? session.fileSystem.lookUp(entryAt: position, of: stream, in: directory) : nil
              if let found { parameters = fuse_entry_param(found, session) }
              length = fuse_add_direntry_plus(handle, place, room - used, name, &parameters, off_t(stream.offset(ofPosition: position + 1)))
              if let found { lookUps.append(found.nodeID) }
              if let found, length > room - used {
                lookUps.removeLast()
                session.fileSystem.forget(found.nodeID, count: 1)
              }
            } else {
              length = fuse_add_direntry(handle, place, room - used, name, &parameters.attr, off_t(stream.offset(ofPosition: position + 1)))
            }
            guard length <= room - used else { return false }
            used += length
            return true
          } ?? false
        position += 1
      }
      // An interrupted caller never hears of the look-ups: they are given back.
      if fuse_reply_buf(handle, start, used) != 0 {
        for nodeID in lookUps { session.fileSystem.forget(nodeID, count: 1) }
      }
    }
  }
}

/// A request whose answer waits until cached pages are gone.
struct DeferredReply: @unchecked Sendable {
  // SAFETY: libfuse lets any thread answer a request, once; the one place that makes a `DeferredReply` consumes the request,
  // the one place that takes it answers it.
  let handle: fuse_req_t
  let answer: Answer

  func send() { Request(handle)?.reply(answer) }
}

/// The `fh` of an open file or directory: a retained reference, from the reply to the open until its release.
enum FileHandle {
  static func number(_ pointer: UnsafeMutableRawPointer) -> UInt64 { UInt64(UInt(bitPattern: pointer)) }

  private static func pointer(_ info: UnsafeMutablePointer<fuse_file_info>?) -> UnsafeMutableRawPointer? {
    info.flatMap { UnsafeMutableRawPointer(bitPattern: UInt($0.pointee.fh)) }
  }

  static func fill(
    _ info: UnsafeMutablePointer<fuse_file_info>, with pointer: UnsafeMutableRawPointer, _ file: OpenFile,
    keepsCache: Bool
  ) {
    info.pointee.fh = number(pointer)
    if file.needsDirectIO {
      info.pointee.direct_io = 1
    } else {
      // Nothing to do when a reader closes.
      info.pointee.noflush = 1
      info.pointee.keep_cache = keepsCache ? 1 : 0
    }
  }

  /// Throws `badDescriptor` for a request without a handle.
  static func file(_ info: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> OpenFile {
    guard let pointer = pointer(info) else { throw .badDescriptor }
    // SAFETY: the kernel gives back what `fill` put there, and nothing after the release.
    return Unmanaged<OpenFile>.fromOpaque(pointer).takeUnretainedValue()
  }

  static func directory(_ info: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> DirectoryStream {
    guard let pointer = pointer(info) else { throw .badDescriptor }
    // SAFETY: as in `file`.
    return Unmanaged<DirectoryStream>.fromOpaque(pointer).takeUnretainedValue()
  }

  /// The last use of the handle: its reference goes to the caller.
  static func takeFile(_ info: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> OpenFile {
    guard let pointer = pointer(info) else { throw .badDescriptor }
    // SAFETY: the kernel releases an open file once.
    return Unmanaged<OpenFile>.fromOpaque(pointer).takeRetainedValue()
  }

  static func takeDirectory(_ info: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> DirectoryStream {
    guard let pointer = pointer(info) else { throw .badDescriptor }
    // SAFETY: as in `takeFile`.
    return Unmanaged<DirectoryStream>.fromOpaque(pointer).takeRetainedValue()
  }
}
