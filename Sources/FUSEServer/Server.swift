internal import CFuse3
internal import Glibc
package import RegistryFileSystem

/// What the operations work with.
final class MountedSession: Sendable {
  let fileSystem: RegistryFileSystem
  let presentation: Presentation
  let notifier = KernelNotifier()
  let waitingReads: WaitingReads

  init(_ fileSystem: RegistryFileSystem, _ presentation: Presentation) {
    self.fileSystem = fileSystem
    waitingReads = WaitingReads(arrival: fileSystem.eventArrival)
    self.presentation = presentation
  }
}

/// Why a file system is not served, or not any longer.
package enum ServerError: Error, Hashable, Sendable, CustomStringConvertible {
  /// libfuse made no session; it said why on standard error.
  case session
  /// The kernel, or fusermount3, did not mount; libfuse said why on standard error.
  case mount(mountPoint: String)
  case resources
  /// The loop ended with an errno.
  case loop(errno: Int32)

  package var description: String {
    switch self {
    case .session: "cannot make a FUSE session"
    case .mount(let mountPoint): "cannot mount on \(mountPoint)"
    case .resources: "no thread for the FUSE session"
    case .loop(let errno): "the FUSE session broke: \(String(cString: strerror(errno)))"
    }
  }
}

/// One FUSE session, from mount to unmount.
package enum Server {
  /// More threads than processors: some wait for the disk.
  private static let threadCount: UInt32 = 10

  /// Serves `fileSystem` on `mountPoint` until somebody unmounts it or SIGINT or SIGTERM comes; it is unmounted then.
  /// `whenMounted` is called once, when the mount stands.
  package static func serve(
    _ fileSystem: RegistryFileSystem, as presentation: Presentation, on mountPoint: String, options: MountOptions,
    fileSystemName: String, whenMounted: () -> Void
  ) throws(ServerError) {
    var arguments = fuse_args()
    defer { fuse_opt_free_args(&arguments) }
    var words = ["subtype=regward", "fsname=" + escaped(fileSystemName)]
    // Where nobody but the owner comes, and he may do all, the kernel has nothing to refuse; with this it asks for attributes
    // before each change all the same.
    if options.allowsOthers || !presentation.givesAll(to: geteuid()) { words.append("default_permissions") }
    words.append(options.isReadOnly ? "ro" : "rw")
    if options.allowsOthers { words.append("allow_other") }
    words += options.kernelOptions
    for argument in ["regward", "-o", words.joined(separator: ",")] {
      guard fuse_opt_add_arg(&arguments, argument) == 0 else { throw .session }
    }

    let mounted = MountedSession(fileSystem, presentation)
    let userData = Unmanaged.passRetained(mounted)
    defer { userData.release() }
    var table = OperationTable.make()
    guard
      let session = fuse_session_new(
        &arguments, &table, MemoryLayout<fuse_lowlevel_ops>.size, userData.toOpaque())
    else { throw .session }
    defer { fuse_session_destroy(session) }

    // libfuse leaves a signal alone that somebody has a handler for: a closed terminal must not unmount.
    signal(SIGHUP, SIG_IGN)
    guard fuse_set_signal_handlers(session) == 0 else { throw .session }
    defer { fuse_remove_signal_handlers(session) }
    guard fuse_session_mount(session, mountPoint) == 0 else { throw .mount(mountPoint: mountPoint) }
    let notifier = mounted.notifier
    let hasThread = notifier.start(session)
    fileSystem.attach(notifier)
    defer {
      mounted.waitingReads.stop()
      notifier.drain(milliseconds: 2000)
      fuse_session_unmount(session)
      notifier.stop()
    }
    guard hasThread, let configuration = fuse_loop_cfg_create() else { throw .resources }
    defer { fuse_loop_cfg_destroy(configuration) }
    fuse_loop_cfg_set_clone_fd(configuration, 1)
    fuse_loop_cfg_set_max_threads(configuration, threadCount)
    // As many may idle: a thread made for one request costs ten times the request.
    fuse_loop_cfg_set_idle_threads(configuration, threadCount)
    whenMounted()
    let result = fuse_session_loop_mt(session, configuration)
    // 0: unmounted; positive: the signal that ended it.
    guard result >= 0 else { throw .loop(errno: -result) }
  }

  /// As libfuse's option parser wants it.
  private static func escaped(_ value: String) -> String {
    value.reduce(into: "") { text, character in
      if character == "," || character == "\\" { text.append("\\") }
      text.append(character)
    }
  }
}
