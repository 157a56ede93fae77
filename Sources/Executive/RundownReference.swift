internal import Synchronization

/// Keeps something alive while it is in use, and lets its owner wait until nobody uses it any more (EX_RUNDOWN_REF).
package final class RundownReference: Sendable {
  private static let closing: UInt64 = 1 << 63
  private let state = Atomic<UInt64>(0)
  private let drained = KernelEvent()

  package init() {}

  /// False once `waitForRelease` was called: the thing must not be used any more.
  package func acquire() -> Bool {
    let before = state.wrappingAdd(1, ordering: .acquiring).oldValue
    guard before & Self.closing == 0 else {
      release()
      return false
    }
    return true
  }

  package func release() {
    let after = state.wrappingSubtract(1, ordering: .releasing).newValue
    if after == Self.closing { drained.signal() }
  }

  /// Lets nobody in any more and waits for those inside. A user that calls it from inside waits for ever.
  package func waitForRelease() {
    let before = state.bitwiseOr(Self.closing, ordering: .acquiringAndReleasing).oldValue
    guard before & ~Self.closing != 0 else { return }
    while state.load(ordering: .acquiring) != Self.closing { drained.wait(milliseconds: 100) }
  }
}
