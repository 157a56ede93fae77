internal import Executive
internal import Synchronization

/// Which threads ask about what they have listed: the answer to a READDIRPLUS carries look-ups for these only.
///
/// `find` and a shell's `*` read names, `ls -l` and `grep -r` then ask about each of them. For the first a look-up in the listing is lost
/// time, and both the kernel and `InodeTable` keep what it gave; for the second it saves a request for each name. Who asks about one
/// name gets the others' answers with the next listing. A thread that has been quiet for `memory` is as one that is new.
final class LookUpHabits: Sendable {
  /// Milliseconds.
  static let memory: UInt32 = 2000

  private static let places = 64
  // By the lowest bits of the thread id: the id, and above it when it asked last. Two threads of one place take turns, and lose requests.
  private let keys = InlineArray<64, Atomic<UInt64>> { _ in Atomic(0) }
  private let values = InlineArray<64, Atomic<UInt64>> { _ in Atomic(0) }

  /// The thread has asked about the key or value of a name at `time`, in milliseconds.
  func note(_ kind: Attributes.Kind, by thread: Int32, at time: UInt32 = now()) {
    let word = UInt64(time) << 32 | UInt64(UInt32(bitPattern: thread))
    let place = Int(thread) & (Self.places - 1)
    if kind == .file {
      values[place].store(word, ordering: .relaxed)
    } else {
      keys[place].store(word, ordering: .relaxed)
    }
  }

  /// Whether the thread will ask about the keys or values that it lists.
  func expects(_ kind: Attributes.Kind, by thread: Int32, at time: UInt32 = now()) -> Bool {
    let place = Int(thread) & (Self.places - 1)
    let word = kind == .file ? values[place].load(ordering: .relaxed) : keys[place].load(ordering: .relaxed)
    return thread != 0 && word & 0xFFFF_FFFF == UInt64(UInt32(bitPattern: thread)) && time &- UInt32(word >> 32) < Self.memory
  }

  static func now() -> UInt32 { UInt32(truncatingIfNeeded: MonotonicClock.nanoseconds() / 1_000_000) }
}
