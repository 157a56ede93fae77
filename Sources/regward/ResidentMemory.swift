internal import CMalloc
internal import Executive
internal import Glibc
internal import Synchronization

/// What of the daemon stays in memory: a mount of a large hive is the hive's bytes, and little else.
///
/// Whenever the daemon has been quiet after some work, what that work has left goes: the heap's free pages, and the code of what runs
/// once: the command line, the policy's reader, the runtime's search through every type. What is needed again comes back from the file.
final class ResidentMemory: Sendable {
  /// Milliseconds between two looks at what the process has done.
  private static let interval = 3000
  /// Nanoseconds of processor time in an interval that still count as quiet: other processes begin and end, and each costs the table a little.
  private static let quiet: UInt64 = 100_000_000

  private let ending = KernelEvent()
  private let thread = Mutex<SystemThread?>(nil)

  init() {
    Self.drop()
    let started = SystemThread(name: "resident-memory") { [ending] in
      var used = Self.processorTime()
      var hasWorked = false
      while !ending.wait(milliseconds: Self.interval) {
        let now = Self.processorTime()
        if now - used > Self.quiet {
          hasWorked = true
        } else if hasWorked {
          Self.drop()
          hasWorked = false
        }
        used = Self.processorTime()
      }
    }
    thread.withLock { $0 = started }
  }

  func stop() {
    ending.signal()
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }

  /// Before threads begin. Large arrays come from the system and go back to it, so that one that has grown leaves no hole; and the threads
  /// share one heap, as what they allocate is small, soon given back, and mostly comes from a cache of their own.
  static func setUpAllocator() {
    mallopt(M_MMAP_THRESHOLD, 1 << 20)
    mallopt(M_ARENA_MAX, 1)
  }

  private static func drop() {
    malloc_trim(0)
    guard let text = FileText.read("/proc/self/smaps") else { return }
    for range in cleanFileMappings(text) {
      // SAFETY: every page of it is the file's, and comes from there when it is touched again.
      madvise(UnsafeMutableRawPointer(bitPattern: range.lowerBound), range.count, MADV_DONTNEED)
    }
  }

  /// The mappings of files, in the text of /proc/PID/smaps, that hold no page of the process's own: those with one have been written to by
  /// the linker, and what that wrote is nowhere else.
  static func cleanFileMappings(_ text: [UInt8]) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var mapping: Range<Int>?
    for line in text.split(separator: 0x0A) {
      let fields = line.split(separator: 0x20, omittingEmptySubsequences: true)
      guard let first = fields.first else { continue }
      if fields.count > 4, let range = range(first) {
        // Private, not writable, with an inode.
        let isCode = fields[1].elementsEqual("r-xp".utf8) || fields[1].elementsEqual("r--p".utf8)
        mapping = isCode && !fields[4].elementsEqual("0".utf8) ? range : nil
      } else if first.elementsEqual("Anonymous:".utf8), fields.count > 1, fields[1].elementsEqual("0".utf8), let range = mapping {
        found.append(range)
      }
    }
    return found
  }

  /// `7f00-8f00`, in hexadecimal digits.
  private static func range(_ field: some Sequence<UInt8>) -> Range<Int>? {
    let ends = String(decoding: Array(field), as: UTF8.self).split(separator: "-")
    guard ends.count == 2, let start = Int(ends[0], radix: 16), let end = Int(ends[1], radix: 16), start < end else {
      return nil
    }
    return start..<end
  }

  private static func processorTime() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return UInt64(max(0, time.tv_sec)) * 1_000_000_000 + UInt64(max(0, time.tv_nsec))
  }
}
