/// Why a process is not exempt, whatever the policy says of it (identity.md, last section).
///
/// What each is worth:
/// - The executable and its owner are asked at every judgement.
/// - The user namespace is asked when a context is made. Only the process's own code can take it to another one later
///   (unshare and setns concern the caller alone), and an executable that was forged there is a changed executable, so a new
///   context.
/// - Tracing is told by the process connector (attach and detach) and read of every thread when a context is made; without
///   the connector it is read at every judgement. That a tracer was there and has left is not held against
///   the process. Nor does a write to /proc/PID/mem trace: who may do that has the process's uid, which
///   is why an executable alone proves something of root's processes only.
/// - The environment is read as early as the connector lets us, and a doubt that was once seen stays until the next exec and goes
///   to forked processes. Code that LD_PRELOAD has loaded may blank the environment before anybody
///   reads it, and on a busy machine mostly does: what is not found proves nothing against the process's own user. Nor would what a
///   process has mapped: such code moves itself to anonymous memory and is gone from /proc/PID/maps (as `forge` of
///   check_identity.py does with a whole executable), and a program's own plug-ins would count against it.
package enum ExemptionDoubt: String, Sendable, CaseIterable {
  case noExecutable = "its executable cannot be read"
  case deletedExecutable = "its executable is deleted, or was never a file with a name (memfd)"
  case ownExecutable = "its executable can be changed by its own user"
  case foreignUserNamespace = "it runs in another user namespace than the mount, or that cannot be told"
  case traced = "it is being traced (ptrace)"
  case loaderEnvironment =
    "its environment has LD_PRELOAD, LD_AUDIT or LD_LIBRARY_PATH, or cannot be read"
}
