// What `mount-scripts/test` tries before it believes a sanitizer: `guarded` counts under a Mutex that threads fight for, and must
// not be reported; `race` counts beside it as well, and `overflow` writes behind an allocation: both must be.
import Glibc
import Synchronization

final class Counter: @unchecked Sendable {
  let guarded = Mutex([Int]())
  // SAFETY: none, that is the point.
  var unguarded = 0
}

final class Body: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

func start(_ run: @escaping @Sendable () -> Void) -> pthread_t {
  var thread = pthread_t()
  let body = Unmanaged.passRetained(Body(run)).toOpaque()
  let failure = pthread_create(
    &thread, nil,
    { body in
      Unmanaged<Body>.fromOpaque(body!).takeRetainedValue().run()
      return nil
    }, body)
  precondition(failure == 0, "no thread: \(failure)")
  return thread
}

let fault = CommandLine.arguments.last!
let counter = Counter()
let races = fault == "race"
if fault == "overflow" {
  let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 8)
  memory[Int(getpid()) > 0 ? 8 : 0] = 1
  memory.deallocate()
}
let threads = (0..<4).map { [counter, races] _ in
  start {
    for number in 0..<20_000 {
      counter.guarded.withLock { numbers in
        if numbers.count > 100 { numbers = [] }
        numbers.append(number)
      }
      if races { counter.unguarded += 1 }
    }
  }
}
for thread in threads { pthread_join(thread, nil) }
